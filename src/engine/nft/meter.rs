//! Limits and quotas, in rules and in objects of their table (`nft_limit.c`, `nft_quota.c`, `nft_objref.c`).

use crate::evidence::Evidence;
use crate::snapshot::nft::{Data, Expr, NftLimit, NftQuota, NftQuotaOf, ObjectKind};

use super::super::skb::Asked;
use super::super::walk::Walk;
use super::doubt::Holds;
use super::load::Break;
use super::statement::Run;

impl<'a> Run<'a> {
    /// A limit: whether it lets the packet through, no snapshot says. A map that has none for the packet ends the rule.
    pub(super) fn limit(&mut self, walk: &mut Walk, limit: &'a NftLimit) -> bool {
        let Some(map) = &limit.map else { return self.unknowable(walk, &limit.text) };
        match self.named(walk, map) {
            Ok(Some(name)) => self.unknowable(walk, &format!("limit name \"{name}\"")),
            Ok(None) => self.unknowable(walk, &limit.text),
            Err(Break) => false,
        }
    }

    /// A quota, with the bytes that the snapshot counted.
    pub(super) fn quota(&mut self, walk: &mut Walk, quota: &'a NftQuotaOf) -> bool {
        let name: Box<str> = match quota {
            NftQuotaOf::Rule(quota) => return self.nft_quota_do_eval(walk, *quota, self.rule.evidence),
            NftQuotaOf::Object(name) => (&**name).into(),
            NftQuotaOf::Map(map) => match self.named(walk, map) {
                Ok(Some(name)) => name,
                Ok(None) => return self.unknowable(walk, "quota name"),
                Err(Break) => return false,
            },
        };
        let table = self.info.table;
        let quota = table.quotas.iter().find(|(own, _)| **own == *name).map(|(_, quota)| *quota);
        let mut objects = table.objects.iter().filter(|(kind, ..)| *kind == ObjectKind::Quota);
        let line = objects.find(|(_, own, _)| **own == *name).map(|(.., line)| *line);
        let Some((quota, line)) = quota.zip(line) else {
            return self.unknowable(walk, &format!("quota name \"{name}\""));
        };
        self.because.push(line);
        self.nft_quota_do_eval(walk, quota, line)
    }

    /// The name that a map has for the packet, where anybody knows it. One that has none ends the rule
    /// (`nft_objref_map_eval`).
    fn named(&mut self, walk: &mut Walk, map: &'a Expr) -> Result<Option<Box<str>>, Break> {
        let Expr::Map(key, set) = map else { return Ok(None) };
        match self.lookup(walk, key, set)? {
            Ok(Data::Opaque(name)) => Ok(Some(name)),
            Ok(_) => Ok(None),
            Err(doubt) => self.settle(walk, Holds::Unknown(doubt)).then_some(None).ok_or(Break),
        }
    }

    /// A quota that the packet just uses up is not exceeded (`nft_overquota`). Each rule that asks an object uses it.
    fn nft_quota_do_eval(&mut self, walk: &mut Walk, quota: NftQuota, line: Evidence) -> bool {
        walk.ask_piece(Asked::Each);
        let (least, most) = walk.length_range();
        let before = walk.tracker.quotas.iter().filter(|(own, _)| *own == line);
        let used = before.fold((quota.used, quota.used), |(low, high), (_, (least, most))| {
            (low.saturating_add(u64::from(*least)), high.saturating_add(u64::from(*most)))
        });
        walk.tracker.quotas.push((line, (least, most)));
        let exceeded = |used: u64, length: u32| used.saturating_add(u64::from(length)) > quota.bytes;
        if exceeded(used.0, least) == exceeded(used.1, most) {
            return exceeded(used.1, most) == quota.over;
        }
        let what = format!("the packet's {least} to {most} bytes exceed the quota of `{}`", self.text());
        self.ask(walk, what, true).is_none_or(|exceeds| exceeds == quota.over)
    }
}
