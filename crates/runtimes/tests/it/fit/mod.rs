//! A worker is fit for the next call, or gone: what calls leave behind meets no other call.

mod errors;
mod later;
mod left;
mod logs;
mod plain;
mod put_back;
mod results;
mod scratch;
mod threads;
