//! Faults and races that the README's promises are proved by, with the real program. The number of
//! each is the one under which the promise cites it.

mod checker;
mod e01_kill_at_each_step;
mod e02_kill_at_each_task_step;
mod e03_stopped_then_continued;
mod e05_full_disk;
mod e06_clock;
mod e09_short_leases;
mod e10_poison;
mod e11_hostile_functions;
mod e18_webhook_addresses;
mod e19_authorization;
mod e20_tokens;
mod e21_bodies;
mod e22_slow_clients;
mod e23_idempotency;
mod e24_subscribe_race;
mod e25_noisy_neighbour;
mod e26_parameters;
mod e26_replies_and_filters;
mod e26_server_spending;
mod history;
mod load;
mod operations;
mod seed;
mod twenty_kills;
