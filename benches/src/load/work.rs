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

/// The works by their names.
const WORKS: [(&str, Work); 9] = [
    ("W1", steady(1, 1)),
    ("W2", steady(64, 1)),
    ("W3_64", steady(1, 64)),
    ("W3_512", steady(1, 512)),
    ("W4_1", connecting(1)),
    ("W4_16", connecting(16)),
    ("STORM", connecting(1_000)),
    (
        "W5",
        Work {
            size: 1 << 20,
            ..steady(1, 1)
        },
    ),
    ("W2_64", steady(64, 64)),
];

const fn steady(connections: usize, depth: usize) -> Work {
    Work {
        connections,
        depth,
        size: 64,
        reconnects: false,
    }
}

const fn connecting(connections: usize) -> Work {
    Work {
        reconnects: true,
        ..steady(connections, 1)
    }
}

impl Work {
    /// Finds a work by its name, or by its shape: `CONNECTIONSxDEPTH` or `CONNECTIONSxDEPTHxBYTES`.
    ///
    /// # Errors
    ///
    /// When none is called so; the text names all.
    pub fn named(name: &str) -> Result<Self, String> {
        WORKS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, work)| *work)
            .or_else(|| Self::shaped(name))
            .ok_or_else(|| {
                let names: Vec<_> = WORKS.iter().map(|(name, _)| *name).collect();
                let names = names.join(", ");
                format!("no work is called {name}: {names}, or CONNECTIONSxDEPTH[xBYTES]")
            })
    }

    fn shaped(shape: &str) -> Option<Self> {
        let numbers: Result<Vec<usize>, _> = shape.split('x').map(str::parse).collect();
        match numbers.ok()?[..] {
            [connections, depth] => Some(steady(connections, depth)),
            [connections, depth, size] => Some(Self {
                size,
                ..steady(connections, depth)
            }),
            _ => None,
        }
        .filter(|work| work.connections > 0 && work.depth > 0 && work.size > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_found_by_its_name_or_its_shape() {
        let numbers = |name| {
            let work = Work::named(name).ok()?;
            Some((work.connections, work.depth, work.size))
        };
        assert_eq!(numbers("W3_512"), Some((1, 512, 64)));
        assert_eq!(numbers("256x4"), Some((256, 4, 64)));
        assert_eq!(numbers("1x2x1024"), Some((1, 2, 1_024)));
        for unknown in ["", "W3_513", "256", "0x1", "1x1x0", "1x1x1x1", "ax1"] {
            assert_eq!(numbers(unknown), None, "{unknown}");
        }
    }
}
