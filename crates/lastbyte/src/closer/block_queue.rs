//! A queue that gives its memory back as it empties, so that a burst of closes leaves none
//! behind.

use std::collections::VecDeque;

const BLOCK: usize = 64;

pub(super) struct BlockQueue<J> {
    /// The first is being emptied, the last being filled.
    blocks: VecDeque<VecDeque<J>>,
}

impl<J> BlockQueue<J> {
    pub(super) const fn new() -> Self {
        Self {
            blocks: VecDeque::new(),
        }
    }

    /// Adds a job, or gives it back where there is no memory for it.
    pub(super) fn push(&mut self, job: J) -> Result<(), J> {
        if self.blocks.back().is_none_or(|block| block.len() == BLOCK) {
            let mut block = VecDeque::new();
            if block.try_reserve_exact(BLOCK).is_err() || self.blocks.try_reserve(1).is_err() {
                return Err(job);
            }
            self.blocks.push_back(block);
        }
        match self.blocks.back_mut() {
            Some(block) => block.push_back(job),
            None => return Err(job),
        }
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Option<J> {
        let block = self.blocks.front_mut()?;
        let job = block.pop_front();
        if block.is_empty() {
            self.blocks.pop_front();
        }
        job
    }

    pub(super) fn append(&mut self, more: &mut Self) {
        self.blocks.append(&mut more.blocks);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_in_first_out_over_blocks_and_queues() {
        let (mut a, mut b) = (BlockQueue::new(), BlockQueue::new());
        for i in 0..100 {
            a.push(i).unwrap();
            b.push(100 + i).unwrap();
        }
        a.append(&mut b);
        assert!(b.is_empty());
        a.push(200).unwrap();
        assert_eq!(
            std::iter::from_fn(|| a.pop()).collect::<Vec<_>>(),
            (0..=200).collect::<Vec<_>>()
        );
        assert!(a.is_empty());
    }
}
