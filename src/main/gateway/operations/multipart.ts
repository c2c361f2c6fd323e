/** The operations of multipart uploads. */
export { abortUpload, createUpload } from './create-upload.ts'
export { completeUpload } from './complete-upload.ts'
export { listParts } from './list-parts.ts'
export { listUploads } from './list-uploads.ts'
export { uploadPart, uploadPartCopy } from './upload-part.ts'
