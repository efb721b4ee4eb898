/** All documents that the application sends. */
import { gql } from "./vendor/urql.js";

const ROW = gql`
  fragment Row on Note { id title isPublic createdAt updatedAt author { id name } tags { id name } }
`;
const ERRORS = gql`
  fragment Errors on UserError { field code message }
`;

export const ME = gql`{ me { id name email } }`;

export const NOTES = gql`
  query Notes($filter: NoteFilter, $orderBy: [NoteOrder!], $after: String) {
    notesConnection(first: 20, after: $after, filter: $filter, orderBy: $orderBy) {
      edges { snippet node { ...Row } }
      pageInfo { hasNextPage endCursor }
    }
  }
  ${ROW}
`;
export const FACETS = gql`
  query Facets($filter: NoteFilter) {
    notesConnection(first: 1, filter: $filter) { totalCount tagFacets(first: 40) { tag { id name } count } }
  }
`;
export const TAGS = gql`
  query Tags { tagsConnection(first: 100, orderBy: [{ field: NOTE_COUNT, direction: DESC }]) { nodes { id name } } }
`;
export const NOTE = gql`
  query Note($id: ID!) { note(id: $id) { ...Row content version } }
  ${ROW}
`;
export const TRASH = gql`
  query Trash { me { id trash(first: 100) { nodes { id title deletedAt } } } }
`;

export const CREATE_NOTE = gql`
  mutation CreateNote($input: CreateNoteInput!) {
    createNote(input: $input) { note { ...Row content version } userErrors { ...Errors } }
  }
  ${ROW} ${ERRORS}
`;
export const UPDATE_NOTE = gql`
  mutation UpdateNote($input: UpdateNoteInput!) {
    updateNote(input: $input) { note { ...Row content version } userErrors { ...Errors } }
  }
  ${ROW} ${ERRORS}
`;
export const DELETE_NOTE = gql`
  mutation DeleteNote($input: DeleteNoteInput!) { deleteNote(input: $input) { userErrors { ...Errors } } }
  ${ERRORS}
`;
export const RESTORE_NOTE = gql`
  mutation RestoreNote($input: RestoreNoteInput!) { restoreNote(input: $input) { note { ...Row } userErrors { ...Errors } } }
  ${ROW} ${ERRORS}
`;
export const PURGE_NOTE = gql`
  mutation PurgeNote($input: PurgeNoteInput!) { purgeNote(input: $input) { purgedId userErrors { ...Errors } } }
  ${ERRORS}
`;

export const SIGN_UP = gql`
  mutation SignUp($input: SignUpInput!) { signUp(input: $input) { user { id } userErrors { ...Errors } } }
  ${ERRORS}
`;
export const LOG_IN = gql`
  mutation LogIn($input: LogInInput!) { logIn(input: $input) { user { id } userErrors { ...Errors } } }
  ${ERRORS}
`;
export const LOG_OUT = gql`
  mutation LogOut { logOut { userErrors { ...Errors } } }
  ${ERRORS}
`;
export const REFRESH_ACCESS = gql`
  mutation RefreshAccess($input: RefreshAccessInput!) { refreshAccess(input: $input) { userErrors { ...Errors } } }
  ${ERRORS}
`;
export const CONFIRM_EMAIL = gql`
  mutation ConfirmEmail($input: TokenInput!) { confirmEmail(input: $input) { userErrors { ...Errors } } }
  ${ERRORS}
`;
export const REQUEST_RESET = gql`
  mutation RequestReset($input: RequestPasswordResetInput!) { requestPasswordReset(input: $input) { userErrors { ...Errors } } }
  ${ERRORS}
`;
export const RESET_PASSWORD = gql`
  mutation ResetPassword($input: ResetPasswordInput!) { resetPassword(input: $input) { userErrors { ...Errors } } }
  ${ERRORS}
`;

export const ACCOUNT = gql`
  query Account { me { id sessions { id device lastUsedAt isCurrent } tokens { id name scope expiresAt } } }
`;
export const UPDATE_PROFILE = gql`
  mutation UpdateProfile($input: UpdateProfileInput!) { updateProfile(input: $input) { userErrors { ...Errors } } }
  ${ERRORS}
`;
export const CHANGE_PASSWORD = gql`
  mutation ChangePassword($input: ChangePasswordInput!) { changePassword(input: $input) { userErrors { ...Errors } } }
  ${ERRORS}
`;
export const END_SESSION = gql`
  mutation EndSession($input: EndSessionInput!) { endSession(input: $input) { endedId userErrors { ...Errors } } }
  ${ERRORS}
`;
export const LOG_OUT_EVERYWHERE = gql`
  mutation LogOutEverywhere { logOutEverywhere { count userErrors { ...Errors } } }
  ${ERRORS}
`;
export const CREATE_TOKEN = gql`
  mutation CreateToken($input: CreateTokenInput!) { createToken(input: $input) { text userErrors { ...Errors } } }
  ${ERRORS}
`;
export const REVOKE_TOKEN = gql`
  mutation RevokeToken($input: RevokeTokenInput!) { revokeToken(input: $input) { revokedId userErrors { ...Errors } } }
  ${ERRORS}
`;
export const DEACTIVATE_ACCOUNT = gql`
  mutation DeactivateAccount($input: PasswordInput!) { deactivateAccount(input: $input) { userErrors { ...Errors } } }
  ${ERRORS}
`;
