//! The service Auth.

use std::time::SystemTime;

use quorate_service::{
    auth,
    keyspace::{Ask, AuthError, Authenticate, Command, KeyspaceError, Reply as KeysReply},
    keyspace_error,
};
use quorate_wire::{EtcdError, etcdserverpb as pb};
use tonic::{Request, Response, Status};

use crate::{
    Backend,
    front::{OnLearner, Serving, session, status, table, wrong_reply},
    gate::Shown,
    passwords,
    rpc::etcdserverpb::auth_server::Auth,
    tokens,
};

/// How often a password is compared anew because users have changed meanwhile.
const TRIES: usize = 8;

/// etcd's text, for a member that has the public key alone.
const VERIFY_ONLY: &str = "auth: token signing attempted with verify-only key";

#[tonic::async_trait]
impl<B: Backend> Auth for Serving<B> {
    async fn auth_enable(
        &self,
        request: Request<pb::AuthEnableRequest>,
    ) -> Result<Response<pb::AuthEnableResponse>, Status> {
        let header =
            self.change_auth(&request, Command::Auth(quorate_service::keyspace::Change::Enable)).await?;
        Ok(Response::new(pb::AuthEnableResponse { header }))
    }

    async fn auth_disable(
        &self,
        request: Request<pb::AuthDisableRequest>,
    ) -> Result<Response<pb::AuthDisableResponse>, Status> {
        let header =
            self.change_auth(&request, Command::Auth(quorate_service::keyspace::Change::Disable)).await?;
        Ok(Response::new(pb::AuthDisableResponse { header }))
    }

    async fn auth_status(
        &self,
        request: Request<pb::AuthStatusRequest>,
    ) -> Result<Response<pb::AuthStatusResponse>, Status> {
        let view = self.look(&request, Ask::AuthStatus).await?;
        Ok(Response::new(auth::status(view.auth(), view.revision(), &self.header())))
    }

    /// Needs no token, and does not look at one.
    async fn authenticate(
        &self,
        request: Request<pb::AuthenticateRequest>,
    ) -> Result<Response<pb::AuthenticateResponse>, Status> {
        self.admit(&request, OnLearner::Refused)?;
        let pb::AuthenticateRequest { name, password } = request.into_inner();
        let letters = tokens::draw().ok_or_else(|| {
            Status::internal("quorate: the system has no randomness for a token; try again")
        })?;
        for _ in 0..TRIES {
            let view = self.ask(&Shown::default(), Ask::Authenticate, false).await?;
            if !view.auth().is_enabled() {
                return Err(table(EtcdError::AuthNotEnabled));
            }
            let auth_revision = view.auth().revision();
            let hash = view.auth().user(&name).and_then(|user| user.password().cloned());
            if !passwords::is(password.clone(), hash, self.0.front.bcrypt_cost).await? {
                return Err(table(EtcdError::AuthFailed));
            }
            if let Some(jwt) = self.jwt() {
                // Of the very revision at which the password was right: should users change meanwhile, it is old when it comes.
                let token = jwt.sign(&name, auth_revision, SystemTime::now());
                let token = token.ok_or_else(|| Status::unknown(VERIFY_ONLY))?;
                let header = self.header_at(&view);
                return Ok(Response::new(pb::AuthenticateResponse { header, token }));
            }
            let token = tokens::digest_of(&letters);
            let command = Command::Authenticate(Authenticate { user: name.clone(), token, auth_revision });
            match self.propose(&command, None).await? {
                (Ok(KeysReply::Authenticate(index)), revision) => {
                    let token = tokens::write(&letters, index);
                    let header = Some(self.header().at(revision));
                    return Ok(Response::new(pb::AuthenticateResponse { header, token }));
                }
                (Ok(_), _) => return Err(wrong_reply()),
                // The password may be another by now.
                (Err(KeyspaceError::Auth(AuthError::AuthOldRevision)), _) => {}
                (Err(error), _) => return Err(status(&keyspace_error(error))),
            }
        }
        Err(table(EtcdError::AuthOldRevision))
    }

    async fn user_add(
        &self,
        request: Request<pb::AuthUserAddRequest>,
    ) -> Result<Response<pb::AuthUserAddResponse>, Status> {
        let (shown, session) = (self.admit(&request, OnLearner::Refused)?, session(request.metadata())?);
        let pb::AuthUserAddRequest { name, password, options, hashed_password } = request.into_inner();
        if name.is_empty() {
            return Err(table(EtcdError::UserEmpty));
        }
        let password = if options.is_some_and(|options| options.no_password) {
            None
        } else {
            Some(self.hash_for(&shown, password, &hashed_password).await?)
        };
        let (_, revision) = self.write(&shown, auth::user_add(name, password), session).await?;
        Ok(Response::new(pb::AuthUserAddResponse { header: Some(self.header().at(revision)) }))
    }

    async fn user_get(
        &self,
        request: Request<pb::AuthUserGetRequest>,
    ) -> Result<Response<pb::AuthUserGetResponse>, Status> {
        let view = self.look(&request, Ask::UserGet(&request.get_ref().name)).await?;
        let name = &request.get_ref().name;
        let response = auth::user_get(view.auth(), name, view.revision(), &self.header());
        response.map(Response::new).map_err(|error| status(&error))
    }

    async fn user_list(
        &self,
        request: Request<pb::AuthUserListRequest>,
    ) -> Result<Response<pb::AuthUserListResponse>, Status> {
        let view = self.look(&request, Ask::UserList).await?;
        Ok(Response::new(auth::user_list(view.auth(), view.revision(), &self.header())))
    }

    async fn user_delete(
        &self,
        request: Request<pb::AuthUserDeleteRequest>,
    ) -> Result<Response<pb::AuthUserDeleteResponse>, Status> {
        let header = self.change_auth(&request, auth::user_delete(request.get_ref().clone())).await?;
        Ok(Response::new(pb::AuthUserDeleteResponse { header }))
    }

    async fn user_change_password(
        &self,
        request: Request<pb::AuthUserChangePasswordRequest>,
    ) -> Result<Response<pb::AuthUserChangePasswordResponse>, Status> {
        let (shown, session) = (self.admit(&request, OnLearner::Refused)?, session(request.metadata())?);
        let pb::AuthUserChangePasswordRequest { name, password, hashed_password } = request.into_inner();
        let password = self.hash_for(&shown, password, &hashed_password).await?;
        let (_, revision) = self.write(&shown, auth::user_change_password(name, password), session).await?;
        Ok(Response::new(pb::AuthUserChangePasswordResponse { header: Some(self.header().at(revision)) }))
    }

    async fn user_grant_role(
        &self,
        request: Request<pb::AuthUserGrantRoleRequest>,
    ) -> Result<Response<pb::AuthUserGrantRoleResponse>, Status> {
        let header = self.change_auth(&request, auth::user_grant_role(request.get_ref().clone())).await?;
        Ok(Response::new(pb::AuthUserGrantRoleResponse { header }))
    }

    async fn user_revoke_role(
        &self,
        request: Request<pb::AuthUserRevokeRoleRequest>,
    ) -> Result<Response<pb::AuthUserRevokeRoleResponse>, Status> {
        let header = self.change_auth(&request, auth::user_revoke_role(request.get_ref().clone())).await?;
        Ok(Response::new(pb::AuthUserRevokeRoleResponse { header }))
    }

    async fn role_add(
        &self,
        request: Request<pb::AuthRoleAddRequest>,
    ) -> Result<Response<pb::AuthRoleAddResponse>, Status> {
        let header = self.change_auth(&request, auth::role_add(request.get_ref().clone())).await?;
        Ok(Response::new(pb::AuthRoleAddResponse { header }))
    }

    async fn role_get(
        &self,
        request: Request<pb::AuthRoleGetRequest>,
    ) -> Result<Response<pb::AuthRoleGetResponse>, Status> {
        let view = self.look(&request, Ask::RoleGet(&request.get_ref().role)).await?;
        let role = &request.get_ref().role;
        let response = auth::role_get(view.auth(), role, view.revision(), &self.header());
        response.map(Response::new).map_err(|error| status(&error))
    }

    async fn role_list(
        &self,
        request: Request<pb::AuthRoleListRequest>,
    ) -> Result<Response<pb::AuthRoleListResponse>, Status> {
        let view = self.look(&request, Ask::RoleList).await?;
        Ok(Response::new(auth::role_list(view.auth(), view.revision(), &self.header())))
    }

    async fn role_delete(
        &self,
        request: Request<pb::AuthRoleDeleteRequest>,
    ) -> Result<Response<pb::AuthRoleDeleteResponse>, Status> {
        let header = self.change_auth(&request, auth::role_delete(request.get_ref().clone())).await?;
        Ok(Response::new(pb::AuthRoleDeleteResponse { header }))
    }

    async fn role_grant_permission(
        &self,
        request: Request<pb::AuthRoleGrantPermissionRequest>,
    ) -> Result<Response<pb::AuthRoleGrantPermissionResponse>, Status> {
        let command = auth::role_grant_permission(request.get_ref().clone());
        let header = match command {
            Ok(command) => self.change_auth(&request, command).await?,
            Err(error) => {
                // Whoever may not is not told what is wrong with it.
                self.look(&request, Ask::RoleList).await?;
                return Err(status(&error));
            }
        };
        Ok(Response::new(pb::AuthRoleGrantPermissionResponse { header }))
    }

    async fn role_revoke_permission(
        &self,
        request: Request<pb::AuthRoleRevokePermissionRequest>,
    ) -> Result<Response<pb::AuthRoleRevokePermissionResponse>, Status> {
        let header =
            self.change_auth(&request, auth::role_revoke_permission(request.get_ref().clone())).await?;
        Ok(Response::new(pb::AuthRoleRevokePermissionResponse { header }))
    }
}

impl<B: Backend> Serving<B> {
    /// Changes users or roles; the header of the answer.
    async fn change_auth<T: Sync>(
        &self,
        request: &Request<T>,
        command: Command,
    ) -> Result<Option<pb::ResponseHeader>, Status> {
        let shown = self.admit(request, OnLearner::Refused)?;
        let session = session(request.metadata())?;
        let (_, revision) = self.write(&shown, command, session).await?;
        Ok(Some(self.header().at(revision)))
    }

    async fn look<T: Sync>(
        &self,
        request: &Request<T>,
        ask: Ask<'_>,
    ) -> Result<quorate_service::keyspace::View, Status> {
        let shown = self.admit(request, OnLearner::Refused)?;
        self.ask(&shown, ask, false).await
    }

    /// The hash to keep: of the password, or, without one, that which the client made. Only root's passwords are worth the work.
    async fn hash_for(
        &self,
        shown: &Shown,
        password: String,
        hashed: &str,
    ) -> Result<quorate_service::keyspace::PasswordHash, Status> {
        self.permit(shown, Ask::UserList, true).await?;
        if password.is_empty() && !hashed.is_empty() {
            return passwords::given(hashed);
        }
        passwords::hash(password, self.0.front.bcrypt_cost).await
    }
}
