//! Faults and races that the README's promises are proved by, with the real program. The number of
//! each is the one under which the promise cites it.

mod checker;
mod e01_kill_at_each_step;
mod e02_kill_at_each_task_step;
mod e23_idempotency;
mod e24_subscribe_race;
mod history;
mod load;
mod seed;
mod twenty_kills;
