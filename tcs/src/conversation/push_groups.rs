//! Groups by name.

use std::{borrow::Borrow, collections::HashMap, fmt, hash::Hash, sync::Arc};

use super::{
    push::{Push, Pushes},
    push_group::PushGroup,
    push_queue::PushError,
};
use crate::{
    format::Encode,
    panics::lock,
    sync::{Mutex, MutexGuard},
};

/// A [`PushGroup`] for each name, such as the rooms of a chat, or the topics of a broker.
///
/// The first member creates a group, and a group without members is removed, so strangers cannot fill the memory with
/// names. A connection can be in any number of groups.
///
/// Names are hashed, compared and dropped under a lock. Your code for this should be quick, and must not use the same
/// groups. If it panics, the groups stay usable.
///
/// # Examples
///
/// ```
/// use tcs::{framing::Lines, protocol::{Push, PushGroups}, server_protocol};
///
/// /// `tea` enters the room `tea`, and `tea hello` says hello there.
/// #[server_protocol(framing = Lines, push = &str)]
/// fn chat(
///     line: &str,
///     #[state] rooms: &PushGroups<String, Chat>,
///     push: Push<Chat>,
/// ) -> Result<String, String> {
///     let Some((room, text)) = line.split_once(' ') else {
///         rooms.join(line.to_owned(), &push);
///         return Ok(format!("{} are here", rooms.member_count(line)));
///     };
///     let receivers = rooms.send_to_others(room, &push, text)?;
///     Ok(format!("sent to {receivers}"))
/// }
///
/// let chat = Chat::new(PushGroups::new());
/// # let _ = chat;
/// ```
pub struct PushGroups<K, P> {
    // A member joins and leaves with this lock, so no group is forgotten that somebody is about to join. Events are sent
    // without it.
    groups: Mutex<HashMap<K, Arc<PushGroup<P>>>>,
}

impl<K, P> PushGroups<K, P> {
    /// Creates an empty set of groups.
    pub fn new() -> Self {
        Self {
            groups: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Arc<PushGroup<P>>>> {
        lock(&self.groups)
    }
}

impl<K: Eq + Hash, P> PushGroups<K, P> {
    /// Adds a connection to the group of this name. Returns `false` if it is a member already.
    pub fn join(&self, name: K, push: &Push<P>) -> bool {
        let mut groups = self.lock();
        if groups.len() == groups.capacity() {
            // Members whose connections have ended do not leave.
            groups.retain(|_, group| !group.is_empty());
            // The next search is then far away.
            let len = groups.len();
            groups.reserve(len);
        }
        groups.entry(name).or_default().join(push)
    }

    /// Removes a connection from the group of this name. Returns `false` if it is not a member.
    pub fn leave<Q: ?Sized + Eq + Hash>(&self, name: &Q, push: &Push<P>) -> bool
    where
        K: Borrow<Q>,
    {
        let mut groups = self.lock();
        let Some(group) = groups.get(name) else {
            return false;
        };
        let was_member = group.leave(push);
        if group.is_empty() {
            groups.remove(name);
        }
        was_member
    }

    /// Returns the number of members of the group of this name whose connections are open.
    pub fn member_count<Q: ?Sized + Eq + Hash>(&self, name: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        self.group(name).map_or(0, |group| group.len())
    }

    fn group<Q: ?Sized + Eq + Hash>(&self, name: &Q) -> Option<Arc<PushGroup<P>>>
    where
        K: Borrow<Q>,
    {
        self.lock().get(name).cloned()
    }
}

impl<K: Eq + Hash, P: Pushes> PushGroups<K, P> {
    /// Queues an event for every member of the group of this name, and returns the number of members for which it was
    /// queued, as [`PushGroup::send`] does.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`PushGroup::send`].
    pub fn send<'e, Q: ?Sized + Eq + Hash>(
        &self,
        name: &Q,
        event: P::Event<'e>,
    ) -> Result<usize, PushError>
    where
        K: Borrow<Q>,
        P::Event<'e>: Encode<P::Format>,
    {
        self.group(name).map_or(Ok(0), |group| group.send(event))
    }

    /// Queues an event for every member except one, usually the sender. Otherwise like [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`PushGroup::send`].
    pub fn send_to_others<'e, Q: ?Sized + Eq + Hash>(
        &self,
        name: &Q,
        sender: &Push<P>,
        event: P::Event<'e>,
    ) -> Result<usize, PushError>
    where
        K: Borrow<Q>,
        P::Event<'e>: Encode<P::Format>,
    {
        self.group(name)
            .map_or(Ok(0), |group| group.send_to_others(sender, event))
    }
}

impl<K, P> Default for PushGroups<K, P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, P> fmt::Debug for PushGroups<K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushGroups")
            .field("groups", &self.lock().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        hash::Hasher,
        panic::{AssertUnwindSafe, catch_unwind},
    };

    use super::*;
    use crate::conversation::push_group::tests::Room;

    fn push() -> Push<Room> {
        Push::of_connection(100)
    }

    #[test]
    fn group_without_members_is_forgotten() {
        let groups = PushGroups::<String, Room>::new();
        let (stays, leaves) = (push(), push());
        assert!(groups.join("tea".to_owned(), &stays) && groups.join("tea".to_owned(), &leaves));
        assert!(!groups.join("tea".to_owned(), &leaves));
        assert_eq!(groups.send("tea", "hello").ok(), Some(2));
        assert_eq!(groups.send_to_others("tea", &leaves, "hello").ok(), Some(1));
        assert_eq!(groups.send("coffee", "hello").ok(), Some(0));
        assert!(groups.leave("tea", &leaves) && !groups.leave("tea", &leaves));
        assert!(!groups.leave("coffee", &leaves));
        assert_eq!((groups.member_count("tea"), groups.lock().len()), (1, 1));
        assert!(groups.leave("tea", &stays));
        assert_eq!((groups.member_count("tea"), groups.lock().len()), (0, 0));
    }

    #[test]
    fn groups_go_on_after_the_hash_of_a_name_has_panicked() {
        #[derive(PartialEq, Eq)]
        struct Name(&'static str);
        impl Hash for Name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                assert_ne!(self.0, "panic", "on purpose");
                self.0.hash(state);
            }
        }
        let (groups, member) = (PushGroups::<Name, Room>::new(), push());
        assert!(groups.join(Name("tea"), &member));
        let joined = catch_unwind(AssertUnwindSafe(|| groups.join(Name("panic"), &member)));
        assert!(joined.is_err());
        assert_eq!(groups.send(&Name("tea"), "hello").ok(), Some(1));
        assert!(groups.join(Name("coffee"), &member) && groups.leave(&Name("tea"), &member));
        assert_eq!(groups.lock().len(), 1);
    }

    #[test]
    fn groups_of_closed_connections_do_not_pile_up() {
        let groups = PushGroups::<u32, Room>::new();
        let stays = push();
        groups.join(0, &stays);
        for name in 1..1_000 {
            let closed = push();
            groups.join(name, &closed);
            closed.close_connection();
        }
        assert!(groups.lock().len() < 16, "{groups:?}");
        assert_eq!(groups.member_count(&0), 1);
    }
}
