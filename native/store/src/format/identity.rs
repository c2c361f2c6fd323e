//! `anvil-drive.json`: what says that a folder is a drive, and whose.

use super::FORMAT_VERSION;

pub const IDENTITY_FILE: &str = "anvil-drive.json";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    pub format_version: u32,
    pub deployment: [u8; 16],
    pub drive: [u8; 16],
}

impl Identity {
    pub fn new(deployment: [u8; 16], drive: [u8; 16]) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            deployment,
            drive,
        }
    }

    pub fn to_json(self) -> String {
        format!(
            "{{\n  \"format\": \"anvil-drive\",\n  \"formatVersion\": {},\n  \"deploymentId\": \"{}\",\n  \"driveId\": \"{}\"\n}}\n",
            self.format_version,
            hex(&self.deployment),
            hex(&self.drive),
        )
    }

    pub fn from_json(text: &[u8]) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_slice(text).ok()?;
        let id = |name: &str| unhex(value.get(name)?.as_str()?);
        (value.get("format")?.as_str()? == "anvil-drive").then_some(())?;
        Some(Self {
            format_version: value.get("formatVersion")?.as_u64()?.try_into().ok()?,
            deployment: id("deploymentId")?,
            drive: id("driveId")?,
        })
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    let mut id = [0; 16];
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).ok()?;
    }
    Some(id)
}
