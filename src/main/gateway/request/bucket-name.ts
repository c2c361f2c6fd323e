/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html */

const form = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/
const ipv4 = /^\d{1,3}(\.\d{1,3}){3}$/
const reservedPrefixes = ['xn--', 'sthree-', 'amzn-s3-demo-']
const reservedSuffixes = ['-s3alias', '--ol-s3', '.mrap', '--x-s3', '--table-s3']

/** Whether a new general-purpose bucket may have that name. */
export const isBucketName = (name: string): boolean =>
  form.test(name) && !name.includes('..') && !ipv4.test(name) &&
  !reservedPrefixes.some((prefix) => name.startsWith(prefix)) && !reservedSuffixes.some((suffix) => name.endsWith(suffix))
