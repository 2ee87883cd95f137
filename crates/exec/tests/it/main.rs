//! The engine as a whole, on the real store and the real executor, with functions that do what
//! each test says.

mod post;
mod pre;
mod publish;
mod world;
