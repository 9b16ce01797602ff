//! What is in use of the address space, as a balanced tree in an array.
//!
//! A node is some pages in a row that can't be given out. It knows how many pages right below it
//! are free, the gap, and it ends where the gap of the next node begins. So there is nothing to
//! describe but the nodes: to give one back takes no room, its pages become part of the gap
//! above.
//!
//! The tree is an AVL tree in the order of addresses: no path has more than 1.44 log2(N) + 1
//! nodes. Each node knows about how large the largest gap in either subtree is ([`Class`]), so
//! that a gap of some size is found on one path. That it does not know exactly keeps most
//! changes of large gaps from going up to the root.

mod balance;
#[cfg(test)]
mod check;
mod node;

use core::iter;

use zerocopy::FromZeros;

use super::class::{Class, Pages};
pub(super) use node::{Kind, Node, NodeId};
use node::{NONE, Side};

/// The wall at the end of the highest usable range. All other nodes are in its left subtree.
pub(super) const TOP: NodeId = NodeId(0);

/// The array has no room for another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// All zero is a tree without pages.
#[derive(Clone, FromZeros)]
pub(super) struct Tree<A: ?Sized> {
    /// The node above the lowest gap that is not empty, [`TOP`] where all are. Most of what is
    /// allocated fits there.
    lowest: NodeId,
    /// How many nodes are in the tree.
    len: u32,
    /// The list of those that were and are not. Where it is empty, `len` is the next free index.
    spare: NodeId,
    nodes: A,
}

impl<const N: usize> Tree<[Node; N]> {
    /// Creates a tree without pages.
    pub(super) const fn new() -> Self {
        Self {
            lowest: TOP,
            len: 0,
            spare: NodeId(0),
            nodes: [Node::UNUSED; N],
        }
    }
}

impl Tree<[Node]> {
    /// Starts anew: the pages from `start` to before `end` are free.
    pub(super) fn reset(&mut self, start: Pages, end: Pages) -> Result<(), Full> {
        let top = self.nodes.first_mut().ok_or(Full)?;
        *top = Node::new(end, end.saturating_sub(start), Kind::Wall);
        (self.lowest, self.len, self.spare) = (TOP, 1, NONE);
        Ok(())
    }

    /// Returns how many nodes there can be.
    pub(super) const fn capacity(&self) -> usize {
        self.nodes.len()
    }

    /// Returns how many more nodes there can be.
    pub(super) fn room(&self) -> usize {
        self.capacity().saturating_sub(NodeId(self.len).index())
    }

    pub(super) fn start(&self, id: NodeId) -> Pages {
        self.node(id).start
    }

    pub(super) fn kind(&self, id: NodeId) -> Kind {
        self.node(id).kind
    }

    pub(super) fn gap(&self, id: NodeId) -> Pages {
        self.node(id).gap
    }

    /// Returns the first page of the gap below `id`, where the node before it ends.
    pub(super) fn gap_start(&self, id: NodeId) -> Pages {
        let node = self.node(id);
        node.start.wrapping_sub(node.gap)
    }

    /// Returns all nodes with a gap of class `least` or larger, the lowest first.
    pub(super) fn ids(&self, least: Class) -> impl Iterator<Item = NodeId> + '_ {
        let first = self.fit_anywhere(least);
        iter::successors(first, move |&id| self.next_fit(id, least))
    }

    /// Returns the lowest node above `id`.
    pub(super) fn next(&self, id: NodeId) -> Option<NodeId> {
        self.next_fit(id, Class::ANY)
    }

    /// Returns where each node starts, the gap below it, and why it is there.
    pub(super) fn stretches(&self) -> impl Iterator<Item = (Pages, Pages, Kind)> + '_ {
        self.ids(Class::ANY)
            .map(|id| (self.start(id), self.gap(id), self.kind(id)))
    }

    /// Returns the highest node that starts at or before `page`, and the one above it. [`TOP`]
    /// stands for none. Nothing where `page` is in [`TOP`].
    pub(super) fn around(&self, page: Pages) -> Option<(NodeId, NodeId)> {
        let top = self.node(TOP);
        if top.start <= page {
            return None;
        }
        let (mut below, mut above) = (TOP, TOP);
        let mut at = top.left;
        while let Some(node) = self.nodes.get(at.index()) {
            if node.start <= page {
                below = at;
                at = node.right;
            } else {
                above = at;
                at = node.left;
            }
        }
        Some((below, above))
    }

    /// Returns the lowest node with a gap of class `least` or larger. `least` is a page at least.
    pub(super) fn first_fit(&self, least: Class) -> Option<NodeId> {
        if self.node(self.lowest).own >= least {
            Some(self.lowest)
        } else {
            self.fit_anywhere(least)
        }
    }

    /// Returns the lowest node above `id` with a gap of class `least` or larger.
    pub(super) fn next_fit(&self, mut id: NodeId, least: Class) -> Option<NodeId> {
        let mut node = self.node(id);
        loop {
            if node.right_most >= least {
                return self.fit_under(node.right, least);
            }
            loop {
                if id == TOP {
                    return None;
                }
                let child = id;
                id = node.parent;
                node = self.nodes.get(id.index())?;
                if node.left == child {
                    break;
                }
            }
            if node.own >= least {
                return Some(id);
            }
        }
    }

    /// Searches the whole tree for the lowest node with a gap of class `least` or larger.
    fn fit_anywhere(&self, least: Class) -> Option<NodeId> {
        let top = self.node(TOP);
        if top.left_most >= least {
            self.fit_under(top.left, least)
        } else {
            (top.own >= least).then_some(TOP)
        }
    }

    /// Searches a subtree for the lowest node with a gap of class `least` or larger.
    fn fit_under(&self, mut id: NodeId, least: Class) -> Option<NodeId> {
        while let Some(node) = self.nodes.get(id.index()) {
            if node.left_most >= least {
                id = node.left;
            } else if node.own >= least {
                return Some(id);
            } else {
                id = node.right;
            }
        }
        None
    }

    /// Adds a node that starts at `start`, in the gap below `above`: `below` pages of the gap are
    /// before it, `rest` behind it.
    pub(super) fn insert(
        &mut self,
        above: NodeId,
        start: Pages,
        kind: Kind,
        (below, rest): (Pages, Pages),
    ) -> Result<(), Full> {
        // It becomes the highest node of the left subtree.
        let (mut parent, mut side) = (above, Side::Left);
        let mut next = self.node(above).left;
        while let Some(node) = self.nodes.get(next.index()) {
            (parent, side) = (next, Side::Right);
            next = node.right;
        }
        let mut node = Node::new(start, below, kind);
        node.parent = parent;
        let own = node.own;
        let id = self.take(node)?;
        if let Some(node) = self.nodes.get_mut(parent.index()) {
            node.set_child(side, id, own);
        }
        if below != 0 {
            if above == self.lowest {
                self.lowest = id;
            }
            self.mend_above(parent);
        }
        self.set_gap(above, rest);
        self.has_grown(id, parent);
        Ok(())
    }

    /// Sets how many pages right below a node are free.
    pub(super) fn set_gap(&mut self, id: NodeId, gap: Pages) {
        let Some(node) = self.nodes.get_mut(id.index()) else {
            return;
        };
        let before = node.own;
        node.gap = gap;
        node.own = Class::of(gap);
        if node.own != before {
            let (parent, most) = (node.parent, node.most());
            self.mend(id, parent, most);
        }
        if gap == 0 && id == self.lowest {
            self.lowest = self.next_fit(id, Class::PAGE).unwrap_or(TOP);
        }
    }

    /// Moves the start of a node, but not to before that of another that stays.
    pub(super) fn set_start(&mut self, id: NodeId, start: Pages) {
        if let Some(node) = self.nodes.get_mut(id.index()) {
            node.start = start;
        }
    }

    /// Removes a node, which is not [`TOP`]. The one above it has a gap of `gap` pages then.
    pub(super) fn remove(&mut self, id: NodeId, above: NodeId, gap: Pages) {
        let Node { start, kind, .. } = *self.node(above);
        // The node above is an ancestor, or the lowest of the right subtree: then it moves here.
        // Either way a node goes that has one child at most.
        let (kept, gone) = match self.node(id).right {
            NONE => (above, id),
            _ => (id, above),
        };
        if gone == self.lowest || (gap != 0 && start <= self.start(self.lowest)) {
            self.lowest = kept;
        }
        let own = Class::of(gap);
        if let Some(node) = self.nodes.get_mut(kept.index()) {
            (node.start, node.gap, node.own, node.kind) = (start, gap, own, kind);
        }
        let Some(node) = self.nodes.get_mut(gone.index()) else {
            return;
        };
        let parent = node.parent;
        let (child, most) = match node.left {
            NONE => (node.right, node.right_most),
            _ => (node.left, node.left_most),
        };
        node.parent = self.spare;
        self.spare = gone;
        self.len = self.len.wrapping_sub(1);
        if let Some(node) = self.nodes.get_mut(child.index()) {
            node.parent = parent;
        }
        let Some(node) = self.nodes.get_mut(parent.index()) else {
            return;
        };
        let side = node.side(gone);
        let (_, before) = node.child(side);
        node.set_child(side, child, most);
        if most != before && parent != kept {
            self.mend_above(parent);
        }
        self.mend_above(kept);
        self.has_shrunk(parent, side);
    }

    /// Tells the nodes above `id` the largest gap of its subtree, as far as that is news.
    fn mend_above(&mut self, id: NodeId) {
        let node = self.node(id);
        let (parent, most) = (node.parent, node.most());
        self.mend(id, parent, most);
    }

    /// Tells `id` that `most` is the largest gap below its child, and those above what that changes.
    fn mend(&mut self, mut child: NodeId, mut id: NodeId, mut most: Class) {
        while let Some(node) = self.nodes.get_mut(id.index()) {
            let known = match node.side(child) {
                Side::Left => &mut node.left_most,
                Side::Right => &mut node.right_most,
            };
            if *known == most {
                return;
            }
            *known = most;
            most = node.most();
            (child, id) = (id, node.parent);
        }
    }

    /// Takes a node for the tree.
    fn take(&mut self, node: Node) -> Result<NodeId, Full> {
        let is_new = self.spare == NONE;
        let id = if is_new { NodeId(self.len) } else { self.spare };
        let place = self.nodes.get_mut(id.index()).ok_or(Full)?;
        if !is_new {
            self.spare = place.parent;
        }
        *place = node;
        self.len = self.len.wrapping_add(1);
        Ok(id)
    }

    /// Returns a node. One without pages where there is none.
    fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(id.index()).unwrap_or(&Node::NOTHING)
    }
}
