//! What holds for requests of every route: heads, bodies, queries, conditions, other origins.

mod bodies;
mod changes;
mod heads;
mod numbers;
mod uploads;
