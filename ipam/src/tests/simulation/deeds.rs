//! What else happens to a cluster whose nodes are all ours.

use petiole_store::key::POOLS_PREFIX;
use petiole_store::value::{Pool, Value};

use super::*;

/// Reserves a few addresses, for some seeds, before anybody is there.
pub(super) fn reserve(world: &mut World) -> Vec<Prefix> {
    if world.below(4) != 0 {
        return Vec::new();
    }
    let (one, block) = (world.below(16), 4 * world.below(4));
    let texts = [format!("10.0.0.{one}/32"), format!("10.0.0.{block}/30"), format!("fd00::{one:x}/128")];
    let cidrs = texts.iter().map(|t| format!("{t:?}")).collect::<Vec<_>>().join(",");
    let value = format!(
        r#"{{"kind":"IPReservation","apiVersion":"projectcalico.org/v3","metadata":{{"name":"r","creationTimestamp":null}},"spec":{{"reservedCIDRs":[{cidrs}]}}}}"#
    );
    world.put(&Key::Reservation("r".to_owned()).to_string(), value);
    texts.iter().map(|t| t.parse().unwrap()).collect()
}

impl Cluster {
    pub(super) fn wider(&mut self, n: usize, handle: String) {
        match self.world.below(10) {
            0 | 1 if self.world.is_alive(n) => self.ask_for_one(n, handle),
            2 => self.world.restart_store(),
            3 => self.toggle_pool(),
            4 | 5 => self.forget(n),
            6 | 7 => self.come_back(n),
            8 if self.world.below(3) == 0 => {
                self.empty(n);
                self.pass(Duration::from_secs(700));
            }
            _ => self.pass(Duration::from_secs(45)),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.world.hear_of_forgotten();
        self.world.pass(time);
        self.world.hear_of_forgotten();
    }

    /// An address, or a pool, that the pod names.
    fn ask_for_one(&mut self, n: usize, handle: String) {
        let mut request = AssignRequest { handle, families: vec![Family::V4], ..AssignRequest::default() };
        let pool = self.pools[0].cidr;
        if self.world.below(3) == 0 {
            request.pools = vec![pool.to_string()];
        } else {
            let count = 1 << (32 - pool.len());
            let at = self.world.below(count) as u128;
            request.addresses = vec![pool.subnet(32, at).unwrap().addr()];
            self.named.insert(request.handle.clone());
        }
        if self.world.below(3) == 0 {
            request.families = Family::BOTH.to_vec();
        }
        self.ask(n, Ask::Assign(request));
    }

    /// Somebody disables a pool that is in use, or enables it again.
    fn toggle_pool(&mut self) {
        let pools = self.world.keys(POOLS_PREFIX);
        let at = self.world.below(pools.len());
        let Some((key, value, _)) = pools.get(at) else { return };
        let mut pool = Pool::decode(key, value).unwrap();
        pool.spec.disabled = !pool.spec.disabled;
        self.world.put(key, pool.encode());
    }

    /// All pods of a node end, so that its blocks are surplus.
    fn empty(&mut self, n: usize) {
        if !self.world.is_alive(n) {
            return;
        }
        for pod in 0..6 {
            self.ask(n, release(&format!("n{n}p{pod}")));
        }
        self.world.run();
        self.hear();
    }

    /// A node breaks for good, its pods with it, and an operator says so.
    pub(super) fn forget(&mut self, n: usize) {
        if n == 0 || !self.world.is_alive(n) {
            return;
        }
        self.hear();
        let unanswered = self.world.remove(n);
        self.lost(n, unanswered);
        let name = self.world.node(n).name.clone();
        // It may have been another's before, whose pods stayed.
        let lives: Vec<usize> = (0..self.size()).filter(|i| self.world.node(*i).name == name).collect();
        for handle in lives.iter().flat_map(|i| (0..6).map(move |pod| format!("n{i}p{pod}"))) {
            self.holds.remove(&handle);
            self.unsure.insert((n, handle));
        }
        for calico in self.calicos.iter_mut().filter(|c| c.home == name) {
            calico.unsure.extend(std::mem::take(&mut calico.holds).into_keys());
        }
        // The first that an agent writes is bound to nothing of its own. It is no later than the operator.
        self.world.be_punctual_with(&Key::life(&name).to_string());
        let wall = self.world.wall();
        self.world.transact(&crate::reclaim::forget(&name, Vec::new(), wall));
        self.gone.insert(n);
    }

    /// A node that was gone for good is there again; its runtime gives back what its pods held.
    pub(super) fn come_back(&mut self, n: usize) {
        if self.gone.remove(&n) {
            self.world.crash(n);
        }
    }

    /// What gone nodes held is freed by their peers; nothing of them is left.
    pub(super) fn reclaim(&mut self) {
        if self.gone.is_empty() {
            return;
        }
        self.pass(Duration::from_secs(200));
        for n in self.gone.clone() {
            let name = self.world.node(n).name.clone();
            assert_eq!(self.world.keys(&format!("/calico/ipam/v2/host/{name}/")), [], "of {name}");
            assert_eq!(self.world.revision_of(&Key::life(&name)), None, "of {name}");
            self.unsure.retain(|(of, _)| *of != n);
        }
        assert_eq!(self.world.keys("/petiole/v1/forgotten/"), []);
    }
}
