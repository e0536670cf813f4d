//! Who may do what: access lists and the scheme `digest`.

use zookeeper_client::{Acl, Acls, AuthId, AuthUser, Client, CreateMode, Error, Permission};

use crate::{Fallible, PERSISTENT, connected, within};

/// `echo -n alice:secret | openssl dgst -sha1 -binary | base64`, behind the name.
const ALICE: &str = "alice:aYXlLOpEooaV1cRAvUL1fp9Qt7E=";

pub(crate) async fn digest(hosts: &str, anyone: &Client) -> Fallible<()> {
    let alice = connected(hosts).await?;
    let closed = CreateMode::Persistent.with_acls(Acls::creator_all());
    assert_eq!(alice.create("/closed", b"", &closed).await.err(), Some(Error::InvalidAcl), "of nobody's");
    alice.auth("digest", b"alice:secret").await?;
    let users = alice.list_auth_users().await?;
    assert!(users.contains(&AuthUser::new("digest", "alice")), "{users:?}");
    assert!(users.contains(&AuthUser::new("ip", "127.0.0.1")), "{users:?}");
    alice.create("/closed", b"mine", &closed).await?;
    let (acls, stat) = alice.get_acl("/closed").await?;
    assert_eq!(acls, [Acl::new(Permission::ALL, AuthId::new("digest", ALICE))]);
    assert_eq!(stat.aversion, 0);

    anyone.sync("/closed").await?;
    assert_eq!(anyone.get_data("/closed").await, Err(Error::NoAuth));
    assert_eq!(anyone.set_data("/closed", b"", None).await, Err(Error::NoAuth));
    assert_eq!(anyone.list_children("/closed").await, Err(Error::NoAuth));
    assert_eq!(anyone.create("/closed/child", b"", &PERSISTENT).await.err(), Some(Error::NoAuth));
    // ZooKeeper's own `exists` asks for READ since 3.9.2, as ours does; in older ones it was no secret that a znode is there.
    assert!(matches!(anyone.check_stat("/closed").await, Err(Error::NoAuth) | Ok(Some(_))));

    // Anyone reads, the one at this address sets, and she rules.
    let shared = [
        Acl::new(Permission::READ, AuthId::anyone()),
        Acl::new(Permission::WRITE, AuthId::new("ip", "127.0.0.0/8")),
        Acl::new(Permission::READ | Permission::ADMIN, AuthId::new("digest", ALICE)),
    ];
    assert_eq!(alice.set_acl("/closed", &shared, Some(5)).await, Err(Error::BadVersion));
    let stat = alice.set_acl("/closed", &shared, Some(0)).await?;
    assert_eq!((stat.aversion, stat.version), (1, 0));
    anyone.sync("/closed").await?;
    assert_eq!(anyone.get_data("/closed").await?.0, b"mine");
    assert_eq!(anyone.set_data("/closed", b"ours", None).await?.version, 1);
    assert_eq!(anyone.create("/closed/child", b"", &PERSISTENT).await.err(), Some(Error::NoAuth));
    assert_eq!(anyone.set_acl("/closed", &shared, None).await, Err(Error::NoAuth));
    assert_eq!(
        alice.create("/closed/child", b"", &PERSISTENT).await.err(),
        Some(Error::NoAuth),
        "she gave it away"
    );

    let late = Client::connector().with_auth("digest", b"alice:secret").connect(hosts);
    let late = within("a connection", late).await??;
    late.sync("/closed").await?;
    assert_eq!(
        late.set_acl("/closed", &shared, Some(1)).await?.aversion,
        2,
        "known by what she brought along"
    );
    let nobody = [Acl::new(Permission::ALL, AuthId::new("digest", "no colon"))];
    assert_eq!(late.set_acl("/closed", &nobody, None).await, Err(Error::InvalidAcl));
    Ok(())
}

pub(crate) async fn bad_credentials(hosts: &str) -> Fallible<()> {
    let impostor = connected(hosts).await?;
    impostor.auth("digest", b"alice:wrong").await?;
    impostor.sync("/closed").await?;
    let all = [Acl::new(Permission::ALL, AuthId::anyone())];
    assert_eq!(
        impostor.set_acl("/closed", &all, None).await,
        Err(Error::NoAuth),
        "another password, another one"
    );
    let stranger = connected(hosts).await?;
    assert_eq!(stranger.auth("no-such-scheme", b"x").await, Err(Error::AuthFailed));
    assert_eq!(stranger.check_stat("/").await, Err(Error::AuthFailed), "the session is over");
    Ok(())
}
