//! Exhaustive breadth-first search over `model.rs`. See README.md.
mod model;
mod scenes;
use model::*;
use std::hash::{Hash, Hasher};
use std::time::Instant;

/// States of one check with `--quick`: nearly all rules that are left out break within them.
const QUICK_STATES: usize = 130_000;

pub struct Found { pub what: &'static str, pub trace: Vec<String> }
pub struct Outcome { pub states: usize, pub depth: u32, pub secs: f64, pub full: bool, pub found: Option<Found> }

/// 64-bit fingerprint of a state (as TLC does it: n states collide with a chance of n^2 / 2^65).
struct Mix(u64);
impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for c in bytes.chunks(8) { let mut w = [0u8; 8]; w[..c.len()].copy_from_slice(c); self.write_u64(u64::from_le_bytes(w)); }
    }
    fn write_u8(&mut self, x: u8) { self.write_u64(x as u64) }
    fn write_usize(&mut self, x: usize) { self.write_u64(x as u64) }
    fn write_u64(&mut self, x: u64) {
        let h = (self.0 ^ x).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let h = (h ^ (h >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        self.0 = h ^ (h >> 29);
    }
    fn finish(&self) -> u64 { self.0 }
}
fn fingerprint(s: &State) -> u64 { let mut h = Mix(0x1234_5678_9ABC_DEF1); s.hash(&mut h); h.finish() }

/// Every fingerprint seen, in the order of discovery, and an open-addressing index over them.
struct Seen { prints: Vec<u64>, parent: Vec<u32>, slots: Vec<u32> }
impl Seen {
    /// true if new
    fn add(&mut self, print: u64, parent: u32) -> bool {
        if self.prints.len() * 2 >= self.slots.len() {
            let mut bigger = vec![u32::MAX; (self.slots.len() * 2).max(1 << 16)];
            let mask = bigger.len() - 1;
            for (n, &p) in self.prints.iter().enumerate() {
                let mut i = p as usize & mask;
                while bigger[i] != u32::MAX { i = (i + 1) & mask; }
                bigger[i] = n as u32;
            }
            self.slots = bigger;
        }
        let mask = self.slots.len() - 1;
        let mut i = print as usize & mask;
        while self.slots[i] != u32::MAX {
            if self.prints[self.slots[i] as usize] == print { return false; }
            i = (i + 1) & mask;
        }
        self.slots[i] = self.prints.len() as u32;
        self.prints.push(print); self.parent.push(parent);
        true
    }
    /// The labels on the way to state n, by walking it again from the start.
    fn trace(&self, c: &Scene, r: &Rules, n: usize, last: Option<String>) -> Vec<String> {
        let mut way = vec![n];
        while self.parent[way[way.len() - 1]] != u32::MAX { way.push(self.parent[way[way.len() - 1]] as usize); }
        let (mut s, mut lines, mut out) = (State::init(c), Vec::new(), Vec::new());
        for &w in way.iter().rev().skip(1) {
            out.clear(); s.next(c, r, &mut out);
            for x in &mut out { x.s.tidy(); }
            let x = out.iter().find(|x| fingerprint(&x.s) == self.prints[w]).unwrap();
            lines.push(label(x)); s = x.s;
        }
        lines.extend(last);
        lines
    }
}

fn label(st: &Step) -> String {
    let mut t = st.label.to_string();
    for (i, v) in st.a.iter().enumerate() { t = t.replace(&format!("{{{i}}}"), &v.to_string()); }
    t
}

pub fn explore(c: &Scene, r: &Rules, limit: usize) -> Outcome {
    let t0 = Instant::now();
    let mut seen = Seen { prints: Vec::new(), parent: Vec::new(), slots: Vec::new() };
    let mut level = vec![State::init(c)];
    seen.add(fingerprint(&level[0]), u32::MAX);
    let (mut first, mut depth) = (0usize, 0u32); // number of the level's first state
    let mut out = Vec::new();
    let done = |seen: &Seen, depth, full, found| Outcome { states: seen.prints.len(), depth, secs: t0.elapsed().as_secs_f64(), full, found };
    while !level.is_empty() {
        let (mut next, next_first) = (Vec::new(), seen.prints.len());
        for (j, s) in level.iter().enumerate() {
            let n = first + j;
            out.clear(); s.next(c, r, &mut out);
            if !out.iter().any(|x| x.class == Class::Progress) {
                if let Some(what) = s.check_quiet(c) {
                    let trace = seen.trace(c, r, n, None);
                    return done(&seen, depth, true, Some(Found { what, trace }));
                }
            }
            for st in &mut out {
                if let Some(what) = st.bad.or_else(|| st.s.check()) {
                    let trace = seen.trace(c, r, n, Some(label(st)));
                    return done(&seen, depth + 1, true, Some(Found { what, trace }));
                }
                st.s.tidy();
                if seen.add(fingerprint(&st.s), n as u32) { next.push(st.s); }
            }
            if seen.prints.len() > limit { return done(&seen, depth, false, None); }
        }
        level = next; first = next_first; depth += 1;
    }
    done(&seen, depth - 1, true, None)
}

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let quick = args.iter().any(|a| a == "--quick");
    args.retain(|a| a != "--quick");
    let most = if quick { QUICK_STATES } else { 100_000_000 };
    let limit: usize = std::env::var("LIMIT").ok().and_then(|v| v.parse().ok()).unwrap_or(most);
    let want = |n: &str| args.is_empty() || args.iter().any(|a| n.starts_with(a.as_str()));
    let (mut right, mut wrong, mut undecided) = (0, 0, 0);
    for case in scenes::cases() {
        if !want(case.name) { continue; }
        let o = explore(&case.scene, &case.rules, limit);
        let verdict = match &o.found { None if o.full => "holds", None => "holds so far (LIMIT)", Some(_) => "VIOLATED" };
        // what needs more states than the limit to break says nothing when it has not broken yet
        let open = case.breaks && o.found.is_none() && !o.full;
        let said = if open { undecided += 1; "undecided within the limit" }
            else if o.found.is_some() == case.breaks { right += 1; "as expected" }
            else { wrong += 1; "NOT AS EXPECTED" };
        println!("{:<34} {:<9} {:>10} states  depth {:>3} {:>7.1} s  {said}", case.name, verdict, o.states, o.depth, o.secs);
        if let Some(f) = o.found {
            println!("    {}", f.what);
            if !quick && std::env::var("QUIET").is_err() { for (i, l) in f.trace.iter().enumerate() { println!("    {:>3}. {l}", i + 1); } }
        }
    }
    println!("{right} as expected, {wrong} not as expected, {undecided} undecided");
    if wrong > 0 { std::process::exit(1); }
}
