//! `retrieve`, with real archives as sources and destinations; fake peers for what those don't do.

mod damage;
mod ends;
mod gate;
mod misbehaviour;
mod partial;
mod peers;
