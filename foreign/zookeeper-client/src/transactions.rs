//! Several operations in one request: all of them or none, and reads of one state.

use zookeeper_client::{Client, Error, MultiReadResult, MultiWriteError, MultiWriteResult};

use crate::{Fallible, PERSISTENT};

pub(crate) async fn all_or_nothing(client: &Client, other: &Client) -> Fallible<()> {
    let mut writer = client.new_multi_writer();
    writer.add_create("/t", b"1", &PERSISTENT)?;
    writer.add_create("/t/a", b"2", &PERSISTENT)?;
    writer.add_set_data("/t", b"3", Some(0))?;
    writer.add_check_version("/t", 1)?;
    writer.add_create("/t/b", b"", &PERSISTENT)?;
    writer.add_delete("/t/b", Some(0))?;
    let results = writer.commit().await?;
    let [
        MultiWriteResult::Create { path, stat: parent },
        MultiWriteResult::Create { path: child, stat: below },
        MultiWriteResult::SetData { stat: set },
        MultiWriteResult::Check,
        MultiWriteResult::Create { .. },
        MultiWriteResult::Delete,
    ] = &results[..]
    else {
        return Err(format!("a transaction was answered with {results:?}").into());
    };
    assert_eq!((path.as_str(), child.as_str(), set.version), ("/t", "/t/a", 1));
    if !parent.is_invalid() {
        assert_eq!((parent.czxid, below.czxid), (set.mzxid, set.mzxid), "one transaction, one zxid");
    }
    let (data, stat) = client.get_data("/t").await?;
    assert_eq!((&data[..], stat.czxid, stat.mzxid, stat.pzxid), (&b"3"[..], set.mzxid, set.mzxid, set.mzxid));
    assert_eq!(client.list_children("/t").await?, ["a"]);

    for (index, expected) in [(0, Error::BadVersion), (1, Error::NodeExists), (2, Error::NotEmpty)] {
        let mut writer = client.new_multi_writer();
        let version = if index == 0 { 0 } else { 1 };
        writer.add_check_version("/t", version)?;
        writer.add_create(if index == 1 { "/t/a" } else { "/t/c" }, b"", &PERSISTENT)?;
        writer.add_delete("/t", None)?;
        let refused = writer.commit().await;
        assert_eq!(refused.err(), Some(MultiWriteError::OperationFailed { index, source: expected }));
    }
    other.sync("/t").await?;
    assert_eq!(other.get_data("/t").await?, (data, stat), "nothing was done of what was refused");
    assert_eq!(other.list_children("/t").await?, ["a"]);

    let mut checked = client.new_check_writer("/t", Some(1))?;
    checked.add_set_data("/t/a", b"checked", None)?;
    let done = checked.commit().await?;
    assert!(matches!(&done[..], [MultiWriteResult::SetData { stat }] if stat.version == 1), "{done:?}");
    let mut checked = client.new_check_writer("/t", Some(9))?;
    checked.add_delete("/t/a", None)?;
    assert_eq!(checked.commit().await.map_err(Error::from).err(), Some(Error::RuntimeInconsistent));
    Ok(())
}

pub(crate) async fn many_reads_at_once(client: &Client) -> Fallible<()> {
    let mut reader = client.new_multi_reader();
    reader.add_get_data("/t/a")?;
    reader.add_get_children("/t")?;
    reader.add_get_data("/t/none")?;
    reader.add_get_data("/t")?;
    let results = reader.commit().await?;
    let [
        MultiReadResult::Data { data, stat },
        MultiReadResult::Children { children },
        MultiReadResult::Error { err: Error::NoNode },
        MultiReadResult::Data { data: parent, .. },
    ] = &results[..]
    else {
        return Err(format!("reads were answered with {results:?}").into());
    };
    assert_eq!((&data[..], stat.version, &parent[..]), (&b"checked"[..], 1, &b"3"[..]));
    assert_eq!(children, &["a"]);
    Ok(())
}
