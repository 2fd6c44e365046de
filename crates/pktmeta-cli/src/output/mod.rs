//! All that a command prints. Text of others reaches neither a terminal nor a pipe as it is, see
//! [`printable`](pktmeta_core::printable); whoever reads has gone, or the disk is full, is an error
//! like others.

mod field;
mod json;
mod record;
mod table;
mod text;

pub(crate) use field::{field_json, known, place};
pub(crate) use json::{add_name, json_line, print_json};
pub(crate) use record::{hex, record_fields_json, record_json, record_line, value_json};
pub(crate) use table::{Cell, Table, number};
pub(crate) use text::{
    Unwritten, complain, complain_of, fail, name, print, print_as_it_is, remark, say,
};
