//! Nothing in the expansion depends on what is in scope.

#[no_implicit_prelude]
mod bare {
    use ::tcs::{client_protocol, server_protocol};

    // Names of the prelude and of the library that mean something else here.
    pub struct Option;
    pub struct String;
    pub struct Vec;
    pub struct Box;
    pub trait Send {}
    pub trait Default {}
    pub trait Future {}
    mod core {}
    mod std {}
    mod tcs {}

    #[server_protocol(session = 7, greeting = "hello")]
    pub async fn server(
        request: &str,
        #[state] text: &str,
        #[state] list: &[u8],
        #[session] count: &mut u8,
        _peer: &::tcs::Peer,
    ) -> usize {
        *count += 1;
        request.len() + text.len() + list.len()
    }

    #[server_protocol(blocking)]
    pub fn blocked(request: &str, #[session] count: &u8) -> usize {
        request.len() + *count as usize
    }

    #[client_protocol(server = Server, request = |name: &str, count: u8| name)]
    pub fn client(reply: usize) -> usize {
        reply
    }

    #[client_protocol(reply = ::std::string::String)]
    pub fn asking(name: &str, count: u8) -> &str {
        let _ = count;
        name
    }

    #[client_protocol(server = Server, reply = usize)]
    pub fn asking_server(name: &str) -> &str {
        name
    }
}

macro_rules! protocol {
    ($name:ident, $request:ty, $reply:ty, $state:ty, $session:expr, |$argument:ident| $body:expr) => {
        #[tcs::server_protocol(session = $session)]
        fn $name($argument: $request, #[state] _state: $state, #[session] _session: &mut u32) -> $reply {
            $body
        }
    };
}

protocol!(echo, &str, String, &u32, 3 + 4, |text| text.to_owned());

macro_rules! complete {
    ($name:ident) => {
        #[tcs::server_protocol(session = peer.addr().is_some(), greeting = format!("{peer} {state} {session}"))]
        async fn $name(request: &str, #[state] state: &u8, #[session] session: &mut bool) -> usize {
            *session = request.len() == *state as usize;
            0
        }

        #[tcs::client_protocol(Asks, request = |name: &str, count: usize| &name[count..])]
        async fn asks(reply: &str, count: usize) -> usize {
            reply.len() + count
        }
    };
}

complete!(completed);

#[tcs::server_protocol(Both)]
#[tcs::client_protocol(Neither, request = "text")]
#[must_use]
#[inline]
#[deprecated = "for a test"]
#[cfg(all())]
fn both(#[allow(unused_variables)] reply: &str) -> usize {
    0
}

#[allow(deprecated)]
fn main() {
    let _ = (bare::Server::new("text".to_owned(), vec![1]), bare::Client::new("a", 1));
    let _ = (bare::Blocked, bare::Asking::new("a", 1), bare::AskingServer::new("a"));
    let _ = (Echo::new(1), Both, Neither, Completed::new(1), Asks::new("a", 1));
}
