/**
 * Makes an ELF library load on an older glibc than it was linked against: its requirements of newer symbol versions are
 * marked weak (VER_FLG_WEAK in .gnu.version_r), so that the dynamic linker goes on, and finds the few symbols elsewhere.
 * Format: the System V ABI's "Linux Standard Base" part on symbol versions (Elf64_Verneed, Elf64_Vernaux).
 */
const SHT_GNU_VERNEED = 0x6ffffffe
const VER_FLG_WEAK = 0x2

/**
 * Changes `elf` in place.
 *
 * @param {Buffer} elf
 * @param {number[]} glibc `[major, minor]` of the host
 * @returns {string[]} the names of the versions that it marked
 */
export function weakenNewerGlibc(elf, [major, minor]) {
  if (elf.toString('latin1', 0, 4) !== '\x7fELF' || elf[4] !== 2 || elf[5] !== 1) throw new Error('not a 64-bit little-endian ELF file')
  const weakened = []
  for (const need of versionNeeds(elf)) {
    const match = /^GLIBC_(\d+)\.(\d+)$/.exec(need.name)
    if (match === null) continue
    const newer = Number(match[1]) > major || (Number(match[1]) === major && Number(match[2]) > minor)
    if (!newer) continue
    elf.writeUInt16LE(elf.readUInt16LE(need.flagsAt) | VER_FLG_WEAK, need.flagsAt)
    weakened.push(need.name)
  }
  return weakened
}

function* versionNeeds(elf) {
  const sections = readSections(elf)
  for (const section of sections) {
    if (section.type !== SHT_GNU_VERNEED) continue
    const strings = sections[section.link]
    let need = section.offset
    for (let i = 0; i < section.info; i++) {
      const count = elf.readUInt16LE(need + 2)
      let aux = need + elf.readUInt32LE(need + 8)
      for (let j = 0; j < count; j++) {
        yield { name: cString(elf, strings.offset + elf.readUInt32LE(aux + 8)), flagsAt: aux + 4 }
        aux += elf.readUInt32LE(aux + 12)
      }
      need += elf.readUInt32LE(need + 12)
    }
  }
}

function readSections(elf) {
  const offset = Number(elf.readBigUInt64LE(40))
  const size = elf.readUInt16LE(58)
  return Array.from({ length: elf.readUInt16LE(60) }, (_, i) => {
    const at = offset + i * size
    return {
      type: elf.readUInt32LE(at + 4),
      offset: Number(elf.readBigUInt64LE(at + 24)),
      link: elf.readUInt32LE(at + 40),
      info: elf.readUInt32LE(at + 44),
    }
  })
}

function cString(elf, start) {
  return elf.toString('latin1', start, elf.indexOf(0, start))
}
