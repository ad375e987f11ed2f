//! C-MOVE and C-GET of the service, by DCMTK's `movescu` and `getscu`.

mod conversion;
mod linked;
mod local;
mod partial;
mod sources;
mod trouble;
