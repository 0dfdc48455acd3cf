//! The core against a reference written from the rules, and against threads of the operating system.
#![cfg(not(loom))]

#[path = "model/reference.rs"]
mod reference;

#[path = "model/generations.rs"]
mod generations;
#[path = "model/sequences.rs"]
mod sequences;
#[path = "model/threads.rs"]
mod threads;
