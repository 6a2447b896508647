//! What is asked of a server.

/// How many connections there are, and what each does.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// How many connections there are at a time.
    pub connections: usize,
    /// How many requests each has in flight.
    pub depth: usize,
    /// How many bytes a message has.
    pub size: usize,
    /// Whether each connection closes after its first reply, and another one takes its place.
    pub reconnects: bool,
}

impl Work {
    /// Reads a shape: `CONNECTIONSxDEPTH`, `CONNECTIONSxDEPTHxBYTES`, or `connect-CONNECTIONS`, where each
    /// connection closes after its first reply. A message has 64 bytes unless the shape says otherwise.
    ///
    /// # Errors
    ///
    /// When it is no shape.
    pub fn parse(shape: &str) -> Result<Self, String> {
        let connecting = shape.strip_prefix("connect-");
        let numbers: Result<Vec<usize>, _> = connecting
            .unwrap_or(shape)
            .split('x')
            .map(str::parse)
            .collect();
        let (connections, depth, size) = match (numbers.as_deref(), connecting) {
            (Ok(&[connections]), Some(_)) => (connections, 1, 64),
            (Ok(&[connections, depth]), None) => (connections, depth, 64),
            (Ok(&[connections, depth, size]), None) => (connections, depth, size),
            _ => (0, 0, 0),
        };
        if connections == 0 || depth == 0 || size == 0 {
            return Err(format!(
                "`{shape}` is no CONNECTIONSxDEPTH[xBYTES] or connect-CONNECTIONS"
            ));
        }
        Ok(Self {
            connections,
            depth,
            size,
            reconnects: connecting.is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_read_from_its_shape() {
        let numbers = |shape| {
            let work = Work::parse(shape).ok()?;
            Some((work.connections, work.depth, work.size, work.reconnects))
        };
        assert_eq!(numbers("1x512"), Some((1, 512, 64, false)));
        assert_eq!(numbers("256x4"), Some((256, 4, 64, false)));
        assert_eq!(numbers("1x2x1024"), Some((1, 2, 1_024, false)));
        assert_eq!(numbers("connect-16"), Some((16, 1, 64, true)));
        for wrong in [
            "",
            "256",
            "0x1",
            "1x1x0",
            "1x1x1x1",
            "ax1",
            "connect-",
            "connect-0",
            "connect-1x1",
        ] {
            assert_eq!(numbers(wrong), None, "{wrong}");
        }
    }
}
