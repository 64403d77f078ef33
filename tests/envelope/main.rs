//! What is not the plain case of one keyed PostgreSQL table in one topic: other topics, other keys, other sources.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod fanout;
mod fanout_captures;
mod fanout_shop;
mod made;
mod mariadb;
mod maxwell;
mod noise;
mod replica_identity;
mod rig;
mod shared;
mod truncates;
mod written;
