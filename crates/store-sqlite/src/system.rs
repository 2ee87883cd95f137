//! Queries of no site: sites, credentials before they are verified, the queue across sites.

use crate::error::{DbError, DbResult, ensure_rows};
use crate::functions::{self, executable_columns, executable_joins, read_executable};
use crate::ids::inserted;
use crate::open::System;
use crate::queue::{self, End};
use crate::rows::{Record, all, exists, first, json, write};
use crate::users::{self, read_columns, user_columns};
use crate::{bundles, claims, grants, idempotency, retention, subscribers};
use async_trait::async_trait;
use rusqlite::{Connection, Row, ToSql, params};
use std::sync::Arc;
use std::time::Duration;
use tollgate_core::egress::EgressHosts;
use tollgate_core::events::EventType;
use tollgate_core::functions::webhook::SealedSecrets;
use tollgate_core::functions::{BundleDigest, Executable};
use tollgate_core::ids::{ApiKeyId, FunctionId, InvocationId, SiteId, UserId, VersionId};
use tollgate_core::invocations::retention::Retention;
use tollgate_core::invocations::{Completion, Hold, Started};
use tollgate_core::ports::store::{
    Claimed, Conflict, CredentialOwner, DueLines, Epoch, IdBlock, IdKind, Instead, KeyOwner, Line,
    LoginRecord, Recovered, StoreError, Swept, SystemStore, Token, TokenKind,
};
use tollgate_core::rights::Ceiling;
use tollgate_core::site::Site;
use tollgate_core::time::Timestamp;
use tollgate_core::users::User;
use tollgate_core::users::identity::key;
use tollgate_core::vault::Sealed;

const SITES: &str = "SELECT id, slug, name, created_at FROM sites ORDER BY id";
const DOMAINS: &str = "SELECT site_id, domain FROM site_domains ORDER BY site_id, domain";
const INSERT_SITE: &str = "
    INSERT INTO sites (slug, name, created_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
const INSERT_DOMAIN: &str = "
    INSERT INTO site_domains (domain, site_id) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
const DOMAIN_OWNER: &str = "SELECT site_id FROM site_domains WHERE domain = ?1";
const SITE_EXISTS: &str = "SELECT 1 FROM sites WHERE id = ?1";
const DELETE_DOMAIN: &str = "DELETE FROM site_domains WHERE site_id = ?1 AND domain = ?2";
const LOGIN: &str = concat!(
    "SELECT ",
    user_columns!(),
    ", password_hash, epoch FROM users WHERE site_id = ?1 AND is_deleted = 0 ",
    "AND id = (SELECT user_id FROM identities WHERE site_id = ?1 AND key = ?2)"
);
const LOGIN_OF: &str = concat!(
    "SELECT ",
    user_columns!(),
    ", password_hash, epoch FROM users WHERE site_id = ?1 AND is_deleted = 0 AND id = ?2"
);
const KEY_OWNER: &str = "
    SELECT k.id, k.user_id, k.last_used_at, k.expires_at FROM api_keys k JOIN users u ON u.id = k.user_id AND u.site_id = k.site_id
    WHERE k.site_id = ?1 AND k.hash = ?2 AND (k.expires_at IS NULL OR k.expires_at > ?3)
        AND u.is_deleted = 0";
/// The user's number stands first to name the row in an error; the hash must not be shown.
const TOKEN: &str = "
    SELECT user_id, hash, kind, family, created_at, expires_at, ended_at FROM tokens
    WHERE site_id = ?1 AND hash = ?2";
const EPOCH: &str = "SELECT epoch FROM users WHERE site_id = ?1 AND id = ?2 AND is_deleted = 0";
const ENDED_FAMILIES: &str = "
    SELECT user_id, family FROM ended_families WHERE site_id = ?1 AND user_id = ?2";
const EXECUTABLE: &str = concat!(
    "SELECT ",
    executable_columns!(),
    " FROM functions f ",
    executable_joins!(),
    " WHERE v.site_id = ?1 AND v.id = ?2 AND f.is_active = 1 AND f.deleted_at IS NULL"
);
const ACTIVE: &str = concat!(
    "SELECT ",
    executable_columns!(),
    " FROM functions f ",
    executable_joins!(),
    " AND v.number = f.version WHERE f.site_id = ?1 AND f.id = ?2 AND f.is_active = 1 ",
    "AND f.deleted_at IS NULL"
);
const FUNCTION: &str = "
    SELECT 1 FROM functions WHERE site_id = ?1 AND id = ?2 AND deleted_at IS NULL";
const EGRESS: &str = "SELECT id, egress_hosts FROM sites WHERE id = ?1";
const SET_EGRESS: &str = "UPDATE sites SET egress_hosts = ?2 WHERE id = ?1";
const KEEP_VAULT_CHECK: &str = "
    INSERT INTO vault_check (id, sealed) VALUES (1, ?1) ON CONFLICT DO NOTHING";
const VAULT_CHECK: &str = "SELECT id, sealed FROM vault_check WHERE id = 1";
const PING: &str = "UPDATE probe SET pings = pings + 1 WHERE id = 1";

fn sites(connection: &Connection) -> DbResult<Vec<Site>> {
    let mut sites = all(connection, SITES, [], |row| {
        let mut row = Record::new("sites", row);
        Ok(Site {
            id: SiteId(row.get("id")?),
            slug: row.shown_name("slug")?,
            name: row.shown_text("name")?,
            domains: Vec::new(),
            created_at: row.time("created_at")?,
            damaged: row.damaged(),
        })
    })?;
    let domains = all(connection, DOMAINS, [], |row| {
        let mut row = Record::new("site_domains", row);
        let site = SiteId(row.get("site_id")?);
        Ok((site, row.shown_text_opt("domain")?))
    })?;
    let mut domains = domains.into_iter().peekable();
    for site in &mut sites {
        while let Some((_, domain)) = domains.next_if(|(id, _)| *id == site.id) {
            match domain {
                Some(domain) => site.domains.push(domain),
                // Nobody can ask for it.
                None if site.damaged.contains(&"domains") => {}
                None => site.damaged.push("domains"),
            }
        }
    }
    // They stood in the order of their domains.
    sites.sort_by_key(|site| (site.created_at, site.id));
    Ok(sites)
}

fn insert_site(connection: &Connection, site: &Site) -> DbResult<Site> {
    let values = params![site.slug, site.name, site.created_at.as_micros()];
    if write(connection, INSERT_SITE, values)? == 0 {
        return Err(Conflict::Site.into());
    }
    let id = SiteId(inserted(connection)?);
    for domain in &site.domains {
        if write(connection, INSERT_DOMAIN, params![domain, id.0])? == 0 {
            return Err(Conflict::Site.into());
        }
    }
    Ok(Site { id, ..site.clone() })
}

fn add_domain(connection: &Connection, site: SiteId, domain: &str) -> DbResult<()> {
    if !exists(connection, SITE_EXISTS, [site.0])? {
        return Err(Conflict::Gone.into());
    }
    if write(connection, INSERT_DOMAIN, params![domain, site.0])? == 1 {
        return Ok(());
    }
    let owner = first(connection, DOMAIN_OWNER, [domain], |row| {
        Ok(row.get::<_, i64>(0)?)
    })?;
    if owner == Some(site.0) {
        Ok(())
    } else {
        Err(Conflict::Site.into())
    }
}

fn login_record(
    connection: &Connection,
    site: SiteId,
    (sql, who): (&str, &dyn ToSql),
    now: Timestamp,
) -> DbResult<Option<LoginRecord>> {
    let record = first(connection, sql, params![site.0, who], |row| {
        let mut row = Record::new("users", row);
        let user = read_columns(&mut row)?;
        // Without one nobody signs in by password.
        let password_hash = row.shown_text_opt("password_hash")?;
        let epoch = Epoch(row.get("epoch")?);
        let damaged = row.damaged();
        Ok(LoginRecord {
            user: User { damaged, ..user },
            password_hash,
            epoch,
        })
    })?;
    let Some(mut record) = record else {
        return Ok(None);
    };
    grants::fill_one(connection, site.0, &mut record.user, now)?;
    Ok(Some(record))
}

fn owner(
    connection: &Connection,
    site: SiteId,
    id: UserId,
    now: Timestamp,
) -> DbResult<Option<CredentialOwner>> {
    let Some(user) = users::by_id(connection, site.0, id, now)? else {
        return Ok(None);
    };
    let grants = grants::of_user(connection, site.0, id, now)?;
    let of = (site.0, id.0);
    let epoch = first(connection, EPOCH, of, |row| Ok(Epoch(row.get(0)?)))?;
    let Some(epoch) = epoch else {
        return Ok(None);
    };
    let ended_families = all(connection, ENDED_FAMILIES, of, |row| {
        let mut row = Record::new("ended_families", row);
        row.get::<i64>("user_id")?;
        row.uuid("family")
    })?;
    Ok(Some(CredentialOwner {
        user,
        grants,
        epoch,
        ended_families,
    }))
}

fn read_token(row: &Row<'_>) -> DbResult<Token> {
    let mut row = Record::new("tokens", row);
    let user_id = UserId(row.get("user_id")?);
    Ok(Token {
        hash: row.get("hash")?,
        kind: row.word("kind", TokenKind::from_text)?,
        user_id,
        family: row.uuid("family")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
        ended_at: row.time_opt("ended_at")?,
    })
}

#[async_trait]
impl SystemStore for System {
    async fn reserve_ids(&self, kind: IdKind, count: u32) -> Result<IdBlock, StoreError> {
        Ok(self.inner.ids.reserve(kind, count))
    }

    async fn sites(&self) -> Result<Vec<Site>, StoreError> {
        // In line: every request may wait for it, so it must not stand behind long lists.
        self.inner.readers.look_up(sites)
    }

    async fn insert_site(&self, site: Site) -> Result<Site, StoreError> {
        self.inner
            .writer
            .write(move |connection| insert_site(connection, &site))
            .await
    }

    async fn add_site_domain(&self, site: SiteId, domain: &str) -> Result<(), StoreError> {
        let domain = domain.to_owned();
        self.inner
            .writer
            .write(move |connection| add_domain(connection, site, &domain))
            .await
    }

    async fn remove_site_domain(&self, site: SiteId, domain: &str) -> Result<bool, StoreError> {
        let domain = domain.to_owned();
        self.inner
            .writer
            .write(move |connection| {
                Ok(write(connection, DELETE_DOMAIN, params![site.0, domain])? > 0)
            })
            .await
    }

    async fn login_record(
        &self,
        site: SiteId,
        login: &str,
    ) -> Result<Option<LoginRecord>, StoreError> {
        let now = self.inner.clock.now();
        self.inner
            .readers
            .look_up(|connection| login_record(connection, site, (LOGIN, &key(login)), now))
    }

    async fn login_record_of(
        &self,
        site: SiteId,
        user: UserId,
    ) -> Result<Option<LoginRecord>, StoreError> {
        let now = self.inner.clock.now();
        self.inner
            .readers
            .look_up(|connection| login_record(connection, site, (LOGIN_OF, &user.0), now))
    }

    async fn owner(
        &self,
        site: SiteId,
        user: UserId,
        now: Timestamp,
    ) -> Result<Option<CredentialOwner>, StoreError> {
        self.inner
            .readers
            .look_up(|connection| owner(connection, site, user, now))
    }

    async fn api_key_owner(
        &self,
        site: SiteId,
        hash: &str,
        now: Timestamp,
    ) -> Result<Option<KeyOwner>, StoreError> {
        self.inner.readers.look_up(|connection| {
            let values = params![site.0, hash, now.as_micros()];
            first(connection, KEY_OWNER, values, |row| {
                let mut row = Record::new("api_keys", row);
                Ok(KeyOwner {
                    key: ApiKeyId(row.get("id")?),
                    user: UserId(row.get("user_id")?),
                    last_used_at: row.time_opt("last_used_at")?,
                    expires_at: row.time_opt("expires_at")?,
                })
            })
        })
    }

    async fn token(&self, site: SiteId, hash: &str) -> Result<Option<Token>, StoreError> {
        self.inner
            .readers
            .look_up(|connection| first(connection, TOKEN, params![site.0, hash], read_token))
    }

    async fn due_lines(&self, after: Option<Line>, limit: usize) -> Result<DueLines, StoreError> {
        let now = self.inner.now();
        self.inner
            .readers
            .look_up(|connection| claims::due_lines(connection, after, limit, now))
    }

    async fn next_due(&self) -> Result<Option<Duration>, StoreError> {
        let now = self.inner.now();
        self.inner
            .readers
            .look_up(|connection| claims::next_due(connection, now))
    }

    async fn claim(
        &self,
        holder: &str,
        wanted: Vec<(Line, usize)>,
    ) -> Result<Vec<Claimed>, StoreError> {
        let (holder, now) = (Arc::from(holder), self.inner.now());
        self.inner
            .writer
            .write(move |connection| claims::claim(connection, &holder, &wanted, now))
            .await
    }

    async fn heartbeat(&self, holder: &str, lease: Duration) -> Result<(), StoreError> {
        let now = self.inner.clock.monotonic();
        self.inner.leases.renew(holder, now, lease);
        Ok(())
    }

    async fn rescue(&self) -> Result<Recovered, StoreError> {
        let now = self.inner.now();
        let mut dead = self.inner.readers.look_up(claims::holders)?;
        let at = self.inner.clock.monotonic();
        dead.retain(|holder| !self.inner.leases.is_alive(holder, at));
        let mut all = Recovered::default();
        for holder in dead {
            let rescued = self
                .inner
                .writer
                .write(move |connection| claims::rescue(connection, &holder, now))
                .await?;
            all.requeued += rescued.requeued;
            all.cancelled += rescued.cancelled;
            all.dead += rescued.dead;
        }
        let set_back = |connection: &Connection| claims::waits_for_another_clock(connection, now);
        if self.inner.readers.look_up(set_back)? {
            let bring = move |connection: &Connection| claims::bring_forward(connection, now);
            let runs = self.inner.writer.write(bring).await?;
            tracing::warn!(
                runs,
                "the clock was set back; what waited for it is due again"
            );
        }
        Ok(all)
    }

    async fn release(&self, holder: &str) -> Result<Recovered, StoreError> {
        let (name, now) = (holder.to_owned(), self.inner.now());
        let handed_back = self
            .inner
            .writer
            .write(move |connection| claims::hand_back(connection, &name, now))
            .await?;
        self.inner.leases.end(holder);
        Ok(handed_back)
    }

    async fn held(&self, holder: &str) -> Result<Vec<(InvocationId, Hold)>, StoreError> {
        let holder = holder.to_owned();
        self.inner
            .readers
            .list(move |connection| claims::held(connection, &holder))
            .await
    }

    async fn requeue(&self, runs: Vec<(InvocationId, Hold)>) -> Result<Recovered, StoreError> {
        let now = self.inner.now();
        self.inner
            .writer
            .write(move |connection| claims::requeue(connection, &runs, now))
            .await
    }

    async fn waiting(&self, site: SiteId, limit: u64) -> Result<u64, StoreError> {
        self.inner
            .readers
            .list(move |connection| claims::waiting(connection, site, limit))
            .await
    }

    async fn started(&self, begun: Vec<Started>) -> Result<(), StoreError> {
        let now = self.inner.now();
        self.inner
            .writer
            .write(move |connection| queue::started(connection, &begun, now))
            .await
    }

    async fn complete(&self, completions: Vec<Completion>) -> Result<Vec<bool>, StoreError> {
        let (ends, now) = (End::prepare(completions)?, self.inner.now());
        self.inner
            .writer
            .write(move |connection| queue::complete(connection, None, &ends, now))
            .await
    }

    async fn function_exists(
        &self,
        site: SiteId,
        function: FunctionId,
    ) -> Result<bool, StoreError> {
        self.inner
            .readers
            .look_up(|connection| exists(connection, FUNCTION, params![site.0, function.0]))
    }

    async fn webhook_secrets(
        &self,
        site: SiteId,
        function: FunctionId,
    ) -> Result<Option<SealedSecrets>, StoreError> {
        self.inner
            .readers
            .look_up(|connection| functions::webhook_secrets(connection, site, function))
    }

    async fn ceiling(
        &self,
        site: SiteId,
        function: FunctionId,
        version: Option<VersionId>,
    ) -> Result<Option<Ceiling>, StoreError> {
        self.inner
            .readers
            .look_up(|connection| functions::ceiling(connection, site, function, version))
    }

    async fn subscription_gone(
        &self,
        site: SiteId,
        event: EventType,
        function: FunctionId,
        version: u32,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        self.inner
            .writer
            .write(move |connection| {
                subscribers::gone(connection, site, (event, function), version, at)
            })
            .await
    }

    async fn executable(
        &self,
        site: SiteId,
        function: FunctionId,
    ) -> Result<Option<Executable>, StoreError> {
        self.inner.readers.look_up(|connection| {
            first(connection, ACTIVE, params![site.0, function.0], |row| {
                let mut row = Record::new("function_versions", row);
                read_executable(connection, &mut row, Instead::default())
            })
        })
    }

    async fn executable_version(
        &self,
        site: SiteId,
        version: VersionId,
    ) -> Result<Option<Executable>, StoreError> {
        self.inner.readers.look_up(|connection| {
            first(connection, EXECUTABLE, params![site.0, version.0], |row| {
                let mut row = Record::new("function_versions", row);
                read_executable(connection, &mut row, Instead::default())
            })
        })
    }

    async fn sweep_invocations(
        &self,
        after: Option<InvocationId>,
        limit: usize,
        retention: Retention,
        now: Timestamp,
    ) -> Result<Swept, StoreError> {
        let look = move |connection: &Connection| {
            retention::look(connection, after, limit, &retention, now)
        };
        let retention::Look { over, next } = self.inner.readers.list(look).await?;
        let deleted = match over.len() {
            0 => 0,
            _ => {
                let delete = move |connection: &Connection| retention::delete(connection, &over);
                self.inner.writer.write(delete).await?
            }
        };
        Ok(Swept { deleted, next })
    }

    async fn sweep_tokens(&self, limit: usize, now: Timestamp) -> Result<u64, StoreError> {
        self.inner
            .writer
            .write(move |connection| retention::delete_tokens(connection, limit, now))
            .await
    }

    async fn forget_idempotency_keys(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<u64, StoreError> {
        self.inner
            .writer
            .write(move |connection| idempotency::forget(connection, before, limit))
            .await
    }

    async fn sweep_bundles(&self, limit: usize, before: Timestamp) -> Result<u64, StoreError> {
        self.inner
            .writer
            .write(move |connection| bundles::sweep(connection, limit, before))
            .await
    }

    async fn bundle_of(
        &self,
        site: SiteId,
        digest: &BundleDigest,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let digest = digest.clone();
        self.inner
            .readers
            .list(move |connection| bundles::find(connection, site.0, &digest))
            .await
    }

    async fn egress_hosts(&self, site: SiteId) -> Result<EgressHosts, StoreError> {
        self.inner.readers.look_up(|connection| {
            let found = first(connection, EGRESS, [site.0], |row| {
                let mut row = Record::new("sites", row);
                row.get::<i64>("id")?;
                row.json("egress_hosts")
            })?;
            found.ok_or_else(|| Conflict::Gone.into())
        })
    }

    async fn set_egress_hosts(&self, site: SiteId, hosts: EgressHosts) -> Result<(), StoreError> {
        let hosts = json(&hosts).map_err(StoreError::from)?;
        self.inner
            .writer
            .write(
                move |connection| match write(connection, SET_EGRESS, params![site.0, hosts])? {
                    0 => Err(Conflict::Gone.into()),
                    _ => Ok(()),
                },
            )
            .await
    }

    async fn vault_check(&self, fresh: Sealed) -> Result<Sealed, StoreError> {
        self.inner
            .writer
            .write(move |connection| {
                write(connection, KEEP_VAULT_CHECK, params![fresh.0])?;
                let stored = first(connection, VAULT_CHECK, [], |row| {
                    let mut row = Record::new("vault_check", row);
                    row.get::<i64>("id")?;
                    Ok(Sealed(row.get("sealed")?))
                })?;
                Ok(stored.unwrap_or_else(|| fresh.clone()))
            })
            .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.inner.readers.look_up(|connection| {
            connection
                .query_row("SELECT 1", [], |_| Ok(()))
                .map_err(DbError::from)
        })?;
        self.inner
            .writer
            .write(|connection| ensure_rows("ping", write(connection, PING, [])?, 1))
            .await
    }
}
