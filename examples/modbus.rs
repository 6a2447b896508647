//! A device with Modbus TCP: holding registers, which any Modbus client reads and writes.
//!
//! ```text
//! cargo run --example modbus
//! ```
//!
//! It leaves out all functions but 3, 6 and 16 (so coils and inputs), and answers for every unit.
//!
//! Try: `pymodbus.simulator`'s client, or `mbpoll -p 1234 -t 4 -r 1 -c 5 localhost`.

use std::sync::{Mutex, PoisonError};

use tcs::{
    ConcurrentServer, Response,
    framing::{LengthField, length_field},
    server_protocol,
};

const ILLEGAL_FUNCTION: u8 = 1;
const ILLEGAL_ADDRESS: u8 = 2;
const ILLEGAL_VALUE: u8 = 3;

type Registers = Mutex<[u16; 100]>;

/// A request and its response begin with: transaction (2 bytes), protocol (2), length (2), unit, function.
#[server_protocol(framing = LengthField<{ length_field(2).offset(4).pack() }>)]
fn modbus(request: &[u8], #[state] registers: &Registers) -> Response<Vec<u8>> {
    // The protocol is 0. Anything else is not Modbus, and has no response.
    let [_, _, 0, 0, _, _, _, function, data @ ..] = request else {
        return Response::Close;
    };
    let mut registers = registers.lock().unwrap_or_else(PoisonError::into_inner);
    let (error, data) = match execute(*function, data, &mut registers[..]) {
        Ok(data) => (0, data),
        Err(exception) => (0x80, vec![exception]),
    };
    Response::Reply([&request[..7], &[*function | error], &data].concat())
}

fn execute(function: u8, data: &[u8], registers: &mut [u16]) -> Result<Vec<u8>, u8> {
    if ![3, 6, 16].contains(&function) {
        return Err(ILLEGAL_FUNCTION);
    }
    let Some((&[a, b, c, d], values)) = data.split_first_chunk() else {
        return Err(ILLEGAL_VALUE);
    };
    let (address, number) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let count = if function == 6 { 1 } else { number.into() };
    let registers = registers.get_mut(address.into()..).unwrap_or_default();
    let registers = registers.get_mut(..count).ok_or(ILLEGAL_ADDRESS);
    match (function, values) {
        (3, []) if (1..=125).contains(&number) => {
            let bytes = registers?.iter().flat_map(|it| it.to_be_bytes());
            let [_, len] = (2 * number).to_be_bytes();
            Ok([len].into_iter().chain(bytes).collect())
        }
        (6, []) => {
            registers?[0] = number;
            Ok(data.to_vec())
        }
        (16, [len, values @ ..])
            if (1..=123).contains(&number) && [(*len).into(), values.len()] == [2 * count; 2] =>
        {
            for (register, value) in registers?.iter_mut().zip(values.as_chunks().0) {
                *register = u16::from_be_bytes(*value);
            }
            Ok(data[..4].to_vec())
        }
        _ => Err(ILLEGAL_VALUE),
    }
}

fn main() -> tcs::Result<()> {
    let server = ConcurrentServer::new(Modbus::new(Mutex::new([0; 100])));
    // The largest frame of the specification.
    server.max_frame_len(260).run()
}
