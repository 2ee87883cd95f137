//! A worker is fit for the next call, or gone: what calls leave behind meets no other call.

mod left;
mod logs;
mod plain;
mod results;
mod threads;
