//! C-FIND of the service, as viewers and other systems meet it.

mod ends;
mod flags;
mod known_patients;
mod linked;
mod load;
mod loops;
mod rows;
mod turns;
mod visibility;
