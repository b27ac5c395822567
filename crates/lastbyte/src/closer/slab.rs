//! A slab: values by keys that are numbers, whose places are used again. epoll carries the
//! keys of endings in flight.

/// A slab whose keys are never mistaken for a value that was in the same place earlier.
pub(super) struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

struct Place<T> {
    generation: u32,
    value: Option<T>,
}

/// A place and its generation.
pub(super) type Key = u64;

/// The place that a key names.
pub(super) const fn place(key: Key) -> u32 {
    key as u32
}

fn key_of(generation: u32, index: u32) -> Key {
    u64::from(generation) << 32 | u64::from(index)
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(super) fn insert(&mut self, value: T) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place {
                generation: 0,
                value: None,
            });
            u32::try_from(self.places.len() - 1).expect("fewer endings than descriptors")
        });
        let place = &mut self.places[index as usize];
        place.value = Some(value);
        key_of(place.generation, index)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.places.get_mut(place(key) as usize)?;
        (slot.generation == (key >> 32) as u32)
            .then_some(slot.value.as_mut())
            .flatten()
    }

    /// The key of a place's present value.
    pub(super) fn key(&self, index: u32) -> Option<Key> {
        let place = self.places.get(index as usize)?;
        place.value.as_ref()?;
        Some(key_of(place.generation, index))
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        self.get_mut(key)?;
        let slot = &mut self.places[place(key) as usize];
        // u64::MAX is the waker's token; its generation is never reached.
        slot.generation = (slot.generation + 1) % u32::MAX;
        self.free.push(place(key));
        slot.value.take()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.places.iter().enumerate().filter_map(|(index, place)| {
            let value = place.value.as_ref()?;
            Some((key_of(place.generation, index as u32), value))
        })
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> {
        self.free.clear();
        std::mem::take(&mut self.places)
            .into_iter()
            .filter_map(|place| place.value)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }
}
