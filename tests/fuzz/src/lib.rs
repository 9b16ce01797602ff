//! What the fuzz targets share: the rules that a reply and its reader must keep, stated a second
//! time and without regard to speed, and a kernel that keeps none.

pub mod areas;
pub mod kernel;
pub mod lists;
pub mod reader;
