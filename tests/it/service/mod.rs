//! The link service as its callers and administrators meet it.

mod admission;
mod attacks;
mod between_clusters;
mod control;
mod find;
mod heavy_input;
mod life;
mod links;
mod prefetch;
mod reload;
mod retrieve;
pub mod store;
