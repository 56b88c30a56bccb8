use super::*;

#[test]
fn a_fleet_that_starts_together_asks_spread_over_the_interval() {
    let mut per_second = [0_u32; 15];
    for node in 0..1000 {
        let first = pause(node, 0, Duration::ZERO, IDLE);
        per_second[usize::try_from(first.as_secs()).unwrap()] += 1;
        let later = pause(node, 7, IDLE.mul_f32(0.8), IDLE.mul_f32(1.2));
        assert!((IDLE.mul_f32(0.79)..IDLE.mul_f32(1.21)).contains(&later), "{later:?}");
    }
    assert!(per_second.iter().all(|n| (30..110).contains(n)), "{per_second:?}");
}
