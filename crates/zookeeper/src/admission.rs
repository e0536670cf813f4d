//! How many connections there are, of all and of each address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Counts connections from their acceptance to the close of their socket.
#[derive(Clone, Debug)]
pub(crate) struct Admission(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    all_max: usize,
    each_max: usize,
    addresses: Mutex<Addresses>,
}

#[derive(Debug, Default)]
struct Addresses {
    all: usize,
    each: HashMap<IpAddr, usize>,
}

/// What one connection counts for; let go when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    address: IpAddr,
    counted: Arc<Counted>,
}

impl Admission {
    /// `each_max` of 0 is no limit.
    pub(crate) fn new(all_max: usize, each_max: usize) -> Admission {
        let each_max = if each_max == 0 { usize::MAX } else { each_max };
        Admission(Arc::new(Counted { all_max, each_max, addresses: Mutex::default() }))
    }

    /// A place for a connection from there, if there is one.
    pub(crate) fn admit(&self, address: IpAddr) -> Option<Place> {
        let mut addresses = self.0.lock();
        let each = addresses.each.get(&address).copied().unwrap_or(0);
        if addresses.all >= self.0.all_max || each >= self.0.each_max {
            return None;
        }
        addresses.all += 1;
        addresses.each.insert(address, each + 1);
        Some(Place { address, counted: Arc::clone(&self.0) })
    }
}

impl Counted {
    fn lock(&self) -> MutexGuard<'_, Addresses> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut addresses = self.counted.lock();
        addresses.all -= 1;
        if let Some(each) = addresses.each.get_mut(&self.address) {
            *each -= 1;
            if *each == 0 {
                addresses.each.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_by_address_and_in_all_and_come_back() {
        let admission = Admission::new(3, 2);
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let first = admission.admit(a).expect("there is room");
        let second = admission.admit(a).expect("there is room");
        assert!(admission.admit(a).is_none(), "two from one address");
        let third = admission.admit(b).expect("there is room");
        assert!(admission.admit(b).is_none(), "three in all");
        drop((first, third));
        assert!(admission.admit(a).is_some());
        drop(second);
        assert!(admission.0.lock().each.is_empty() && admission.0.lock().all == 0);
    }
}
