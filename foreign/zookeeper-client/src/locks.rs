//! The crate's own recipe: locks that are waited for in line, and writes that hold only while the lock does.

use zookeeper_client::{Acls, Client, Error, LockOptions, LockPrefix};

use crate::{Fallible, PERSISTENT, within};

pub(crate) async fn one_at_a_time(client: &Client, other: &Client) -> Fallible<()> {
    let options = || LockOptions::new(Acls::anyone_all()).with_ancestor_options(PERSISTENT);
    let prefix = || LockPrefix::new_curator("/locks/one", "lock-");
    let first = within("a free lock", client.lock(prefix()?, b"first", options()?)).await??;
    client.create("/guarded", b"", &PERSISTENT).await?;
    assert_eq!(first.set_data("/guarded", b"first", Some(0)).await?.version, 1);

    let mut waiting = Box::pin(other.lock(prefix()?, b"second", options()?));
    // It stands in line behind the first, and is not let in.
    loop {
        tokio::select! {
            biased;
            early = &mut waiting => return Err(format!("two held one lock: {}", early?.lock_path()).into()),
            names = client.list_children("/locks/one") => if names?.len() == 2 { break },
        }
    }
    let path = first.lock_path().to_owned();
    drop(first);
    let second = within("the lock that was let go", waiting).await??;
    other.sync("/").await?;
    assert_eq!(other.check_stat(&path).await?, None);
    assert_eq!(second.set_data("/guarded", b"second", Some(1)).await?.version, 2);

    // Whose lock is taken away writes no more.
    client.sync("/").await?;
    client.delete(second.lock_path(), None).await?;
    assert_eq!(second.set_data("/guarded", b"late", None).await, Err(Error::RuntimeInconsistent));
    assert_eq!(second.delete("/guarded", None).await, Err(Error::RuntimeInconsistent));
    client.sync("/").await?;
    assert_eq!(client.get_data("/guarded").await?.0, b"second");
    Ok(())
}
