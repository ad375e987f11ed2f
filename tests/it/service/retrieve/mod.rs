//! C-MOVE and C-GET of the service, by DCMTK's `movescu` and `getscu`.

mod linked;
mod local;
mod sources;
mod trouble;
