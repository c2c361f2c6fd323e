//! The bytes-to-bytes kernels of the store: Reed-Solomon, checksums, hashes and authenticated encryption.
//!
//! Everything here is pure computation on buffers that the caller owns; nothing allocates per byte, blocks or knows of
//! files, sockets or JavaScript. Kernels are chosen at run time from what the processor offers, so one binary serves every
//! host; [`features`] says what was chosen.

pub mod aead;
pub mod crc;
pub mod hash;
pub mod rs;

/// Bytes of a block that one CRC-32C covers: the smallest range that is read and verified on its own.
pub const UNIT_BYTES: usize = 32 * 1024;

/// The kernels in use on this host, as `purpose:kernel`, for the log and the bench.
pub fn features() -> Vec<String> {
    vec![
        format!("reed-solomon:{}", rs::kernel_name()),
        format!("md5:{}", hash::kernel_name(hash::Algorithm::Md5)),
        format!("sha256:{}", hash::kernel_name(hash::Algorithm::Sha256)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Uploads move between threads with all of their state.
    #[test]
    fn state_may_move_between_threads() {
        fn is_send<T: Send>() {}
        fn is_send_and_sync<T: Send + Sync>() {}
        is_send::<hash::Hasher>();
        is_send::<hash::FastDigest>();
        is_send::<crc::State>();
        is_send_and_sync::<rs::Code>();
        is_send_and_sync::<aead::DataKey>();
        is_send_and_sync::<aead::BlobKey>();
    }

    #[test]
    fn features_name_each_kernel() {
        let features = features();
        assert!(features.iter().all(|feature| {
            feature
                .split_once(':')
                .is_some_and(|(_, kernel)| !kernel.is_empty())
        }));
    }
}
