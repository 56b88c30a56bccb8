use super::*;

#[test]
fn other_images_are_noticed() {
    let topology = "kinds:\n  linux:\n    image: petiole-lab:latest   # ours\nnodes:\n  a: \n    image: \"frr:9\"\n";
    assert_eq!(foreign_images(topology), ["frr:9"]);
    assert_eq!(foreign_images("image: 'petiole-lab:latest'\n"), [""; 0]);
}

#[test]
fn paths_of_this_machine_lead_into_the_tree() {
    assert_eq!(inside(Path::new("/t"), Path::new("/usr/bin/ip")), Path::new("/t/usr/bin/ip"));
}
