//! What is true of every tree.

use core::iter;
use std::vec::Vec;

use super::node::{Kind, Lean, NONE, Node, NodeId};
use super::{TOP, Tree};
use crate::dma::iova::class::Class;

impl Tree<[Node]> {
    /// Panics where the tree is not as it must be.
    pub(in crate::dma::iova) fn check(&self) {
        let ids: Vec<NodeId> = self.ids(Class::ANY).collect();
        assert_eq!(ids.last(), Some(&TOP));
        assert_eq!(ids.len(), NodeId(self.len).index(), "nodes in the tree");
        for pair in ids.windows(2) {
            let gap_start = self.gap_start(pair[1]);
            assert!(self.start(pair[0]) < gap_start, "{pair:?}");
            let walls = pair.iter().all(|&id| self.kind(id) == Kind::Wall);
            assert!(!walls || self.gap(pair[1]) > 0, "two walls: {pair:?}");
        }
        let lowest = ids.iter().find(|&&id| self.gap(id) != 0);
        assert_eq!(self.lowest, *lowest.unwrap_or(&TOP));
        let top = self.node(TOP);
        let (_, most) = self.check_under(top.left, TOP);
        assert_eq!(
            (top.left_most, top.right, top.kind),
            (most, NONE, Kind::Wall)
        );
        let spare = iter::successors(Some(self.spare), |&id| Some(self.node(id).parent));
        let mut spare: Vec<NodeId> = spare.take_while(|&id| id != NONE).collect();
        spare.extend(ids);
        spare.sort_by_key(|id| id.0);
        spare.dedup();
        let used = spare.last().map_or(0, |last| last.index() + 1);
        assert_eq!(spare.len(), used, "no node is lost");
    }

    /// Returns the height and the largest gap of a subtree. It is not deeper than AVL trees are.
    fn check_under(&self, id: NodeId, parent: NodeId) -> (u32, Class) {
        if id == NONE {
            return (0, Class::NONE);
        }
        let node = self.node(id);
        assert_eq!(node.parent, parent);
        assert_eq!(node.own, Class::of(node.gap));
        let (left, left_most) = self.check_under(node.left, id);
        let (right, right_most) = self.check_under(node.right, id);
        assert_eq!((node.left_most, node.right_most), (left_most, right_most));
        match node.lean {
            Lean::Even => assert_eq!(left, right),
            Lean::Left => assert_eq!(left, right + 1),
            Lean::Right => assert_eq!(left + 1, right),
        }
        (left.max(right) + 1, node.most())
    }
}
