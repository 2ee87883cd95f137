//! Faults and races that the README's promises are proved by, with the real program. The number of
//! each is the one under which the promise cites it.

mod e23_idempotency;
mod e24_subscribe_race;
