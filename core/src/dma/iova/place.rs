//! The place for an allocation.

use super::class::{Class, Pages};
use super::tree::{Node, NodeId, Tree};

/// How many gaps are tried, the lowest first, before one is taken that is large enough however it
/// is aligned.
pub(super) const TRIES: u32 = 4;

/// What a place is looked for; sizes and addresses in pages.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) size: Pages,
    /// A power of two.
    pub(super) align: Pages,
    /// The first page that can't be used.
    pub(super) limit: Pages,
}

impl Wanted {
    /// Returns the place with the best alignment, as the first page and the node above the gap.
    ///
    /// That is the largest bit of `page_sizes` that the size reaches and that is to be had, and
    /// in any case what is asked for.
    pub(super) fn place(self, tree: &Tree<[Node]>, page_sizes: Pages) -> Option<(NodeId, Pages)> {
        let mut goal = 0;
        if self.size > self.align {
            goal = largest_up_to(page_sizes, self.size);
        }
        loop {
            let place = self.aligned(tree, goal.max(self.align));
            if place.is_some() || goal <= self.align {
                return place;
            }
            goal = largest_up_to(page_sizes, goal.wrapping_sub(1));
        }
    }

    /// Returns a place at a multiple of `align`, a power of two.
    fn aligned(self, tree: &Tree<[Node]>, align: Pages) -> Option<(NodeId, Pages)> {
        let lowest = tree.first_fit(Class::of(self.size))?;
        let place = self.within(tree, lowest, align);
        place.or_else(|| self.aligned_from(tree, lowest, align))
    }

    /// Searches as [`Self::aligned`] does, from the lowest gap on that is large enough.
    ///
    /// If there is any place, it is found: after some tries where it is sure to be, and otherwise
    /// by trying all.
    #[cold]
    fn aligned_from(
        self,
        tree: &Tree<[Node]>,
        lowest: NodeId,
        align: Pages,
    ) -> Option<(NodeId, Pages)> {
        let mut tries = TRIES;
        let mut next = Some(lowest);
        while let Some(above) = next {
            if self.limit < tree.gap_start(above).wrapping_add(self.size) {
                return None;
            }
            let mut place = self.within(tree, above, align);
            tries = tries.wrapping_sub(1);
            if place.is_none() && tries == 0 {
                let enough = self.size.wrapping_add(align).wrapping_sub(1);
                let roomy = tree.first_fit(Class::from(enough));
                place = roomy.and_then(|above| self.within(tree, above, align));
            }
            if place.is_some() {
                return place;
            }
            next = tree.next_fit(above, Class::of(self.size));
        }
        None
    }

    /// Returns the lowest place at a multiple of `align` in the gap below a node.
    fn within(self, tree: &Tree<[Node]>, above: NodeId, align: Pages) -> Option<(NodeId, Pages)> {
        let low = align.wrapping_sub(1);
        let start = tree.gap_start(above).wrapping_add(low) & !low;
        let end = start.wrapping_add(self.size);
        (end <= tree.start(above).min(self.limit)).then_some((above, start))
    }
}

/// Returns the highest bit of `page_sizes` that is not above `limit`. 0 where there is none.
fn largest_up_to(page_sizes: u64, limit: u64) -> u64 {
    let below = u64::MAX.checked_shr(limit.leading_zeros()).unwrap_or(0);
    let sizes = page_sizes & below;
    sizes
        .checked_ilog2()
        .and_then(|bit| 1_u64.checked_shl(bit))
        .unwrap_or(0)
}
