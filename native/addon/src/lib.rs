//! See ../CONTRACT.md
