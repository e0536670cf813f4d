//! Users, roles and passwords.

use std::time::{Duration, Instant};

use etcd_client::{
    Client, ConnectOptions, Error, GetOptions, Permission, PermissionType, RoleRevokePermissionOptions,
    WatchOptions,
};

use crate::{Fallible, PATIENCE, refusal, watches};

pub(crate) const DENIED: (i32, &str) = (7, "etcdserver: permission denied");

pub(crate) async fn as_user(endpoints: &[String], name: &str, password: &str) -> Result<Client, Error> {
    Client::connect(endpoints, Some(ConnectOptions::new().with_user(name, password))).await
}

/// Auth on: root, and `u`, who may do everything under `u/`.
pub(crate) async fn begin(client: &mut Client) -> Fallible<()> {
    for (user, role) in [("root", "root"), ("u", "r")] {
        client.user_add(user, format!("p{user}"), None).await?;
        client.role_add(role).await?;
        client.user_grant_role(user, role).await?;
    }
    let own = Permission::new(PermissionType::Readwrite, "u/").with_prefix();
    client.role_grant_permission("r", own).await?;
    client.auth_enable().await?;
    Ok(())
}

/// The same, on a member that may not have heard yet that auth is on.
pub(crate) async fn soon_as_user(endpoint: &String, name: &str, password: &str) -> Fallible<Client> {
    let end = Instant::now() + PATIENCE;
    loop {
        match as_user(std::slice::from_ref(endpoint), name, password).await {
            Ok(client) => return Ok(client),
            Err(error) if Instant::now() > end => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

pub(crate) async fn end(endpoints: &[String]) -> Fallible<()> {
    as_user(&endpoints[..1], "root", "proot").await?.auth_disable().await?;
    Ok(())
}

/// All at one member: another may not know yet that users have changed, and then says so, as etcd does (`revision of auth store is old`).
pub(crate) async fn users_and_roles(endpoints: &[String]) -> Fallible<()> {
    let (all, endpoints) = (endpoints, &endpoints[..1]);
    let client = &mut Client::connect(endpoints, None).await?;
    begin(client).await?;
    let (code, text) = refusal(client.get("u/a", None).await);
    assert_eq!((code, text.as_str()), (3, "etcdserver: user name is empty"));
    let (code, text) = refusal(as_user(endpoints, "u", "wrong").await.map(drop));
    assert_eq!((code, text.as_str()), (3, "etcdserver: authentication failed, invalid user ID or password"));

    let mut user = as_user(endpoints, "u", "pu").await?;
    user.put("u/a", "1", None).await?;
    assert_eq!(user.get("u/", Some(GetOptions::new().with_prefix())).await?.count(), 1);
    for refused in [
        refusal(user.put("v", "1", None).await.map(drop)),
        refusal(user.get("u", Some(GetOptions::new().with_prefix())).await.map(drop)),
        refusal(user.user_add("x", "x", None).await.map(drop)),
        refusal(user.compact(1, None).await.map(drop)),
    ] {
        assert_eq!((refused.0, refused.1.as_str()), DENIED);
    }
    let mut own = user.watch("u/", Some(WatchOptions::new().with_prefix())).await?;
    user.put("u/a", "2", None).await?;
    assert_eq!(watches::events(&mut own, 1).await?[0].2, "2");

    let mut root = as_user(endpoints, "root", "proot").await?;
    assert_eq!(root.user_get("u").await?.roles(), ["r"]);
    assert_eq!(root.user_list().await?.users().len(), 2);
    assert_eq!(root.role_list().await?.roles().len(), 2);
    assert_eq!(root.role_get("r").await?.permissions().len(), 1);
    root.user_change_password("u", "new").await?;
    assert!(as_user(endpoints, "u", "pu").await.is_err(), "the password is another");
    let mut user = as_user(endpoints, "u", "new").await?;
    user.put("u/a", "3", None).await?;
    root.role_revoke_permission("r", "u/", Some(RoleRevokePermissionOptions::new().with_prefix())).await?;
    let mut user_again = as_user(endpoints, "u", "new").await?;
    assert_eq!(refusal(user_again.put("u/a", "4", None).await).0, DENIED.0);
    root.user_revoke_role("u", "r").await?;
    root.user_delete("u").await?;
    root.role_delete("r").await?;
    end(endpoints).await?;
    client.put("v", "1", None).await?;
    client.user_revoke_role("root", "root").await?;
    client.user_delete("root").await?;
    client.role_delete("root").await?;
    let began = Instant::now();
    for endpoint in all {
        let mut nobody = Client::connect([endpoint], None).await?;
        while let Err(error) = nobody.get("v", None).await {
            if began.elapsed() > PATIENCE {
                return Err(error.into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}
