use serde_json::json;

use super::{
    call,
    http1::{get, post},
    support::Cluster,
    url,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_say_how_each_check_went() {
    let cluster = Cluster::start(1).await;
    let at = url(&cluster, 0);
    let ask = async |path: &str| {
        let answer = get(at, path).await;
        (answer.status, answer.body)
    };
    let ok = (200, "ok\n".to_owned());
    for path in [
        "/livez",
        "/readyz",
        "/livez/serializable_read",
        "/readyz/data_corruption",
        "/readyz/serializable_read",
        "/readyz/linearizable_read",
        "/readyz/non_learner",
        "/readyz?exclude=non_learner&exclude=nobody_knows",
    ] {
        assert_eq!(ask(path).await, ok, "{path}");
    }
    assert_eq!(ask("/livez?verbose").await, (200, "[+]serializable_read ok\nok\n".to_owned()));
    let verbose = ask("/readyz?verbose&exclude=linearizable_read").await.1;
    assert_eq!(verbose, "[+]data_corruption ok\n[+]serializable_read ok\n[+]non_learner ok\nok\n");
    for unknown in ["/livez/non_learner", "/readyz/nothing", "/readyz/non_learner/more", "/live"] {
        assert_eq!(ask(unknown).await.0, 404, "{unknown}");
    }
    let posted = post(at, "/livez", "").await;
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET")));

    let alarm = json!({ "action": 1, "memberID": 5, "alarm": 2 });
    call(&cluster, 0, "/v3/maintenance/alarm", alarm).await;
    let (status, body) = ask("/readyz").await;
    let failed = "[-]data_corruption failed: alarm activated: CORRUPT\n[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\n";
    assert_eq!((status, body.as_str()), (503, failed));
    assert_eq!(ask("/livez").await, ok);
    assert_eq!(ask("/readyz?exclude=data_corruption").await, ok);
    assert_eq!(ask("/health").await, (503, r#"{"health":"false","reason":"ALARM CORRUPT"}"#.to_owned()));
    assert_eq!(ask("/health?exclude=CORRUPT").await.0, 200);
}
