/**
 * Symbol keys of members that are internal to this package. Handlers get the same objects. If these
 * members had plain names, a handler could send text that is no JSON-RPC, or answer a call twice.
 *
 * They are marked as pure, so that a bundle of the client leaves out those that only a server has. They have no
 * descriptions, since a page would load those too.
 *
 * @module
 */

/** Connection: sends a text that is encoded already. */
export const SEND: unique symbol = /* @__PURE__ */ Symbol();
/** Connection: starts to watch whether the peer leaves. */
export const WATCH: unique symbol = /* @__PURE__ */ Symbol();
/** Connection with topics: the topics that it is subscribed to, as a set that can be changed. */
export const TOPICS: unique symbol = /* @__PURE__ */ Symbol();
/** Connection with topics: removes one topic. */
export const REMOVE_TOPIC: unique symbol = /* @__PURE__ */ Symbol();
/** Connection with topics: counts events that were dropped. */
export const COUNT_DROPPED: unique symbol = /* @__PURE__ */ Symbol();
/** Connection of a server: whether the caller is told why it was refused. */
export const EXPLAINS: unique symbol = /* @__PURE__ */ Symbol();
/** Request: aborts its signal. */
export const ABORT: unique symbol = /* @__PURE__ */ Symbol();
/** Request: hands the answer to its sink. */
export const SETTLE: unique symbol = /* @__PURE__ */ Symbol();
/** Request: notes that the answer was sent. */
export const ANSWERED: unique symbol = /* @__PURE__ */ Symbol();
/** Request: runs a function once the answer was sent. */
export const AFTER_ANSWER: unique symbol = /* @__PURE__ */ Symbol();
/** Sink of answers, such as a connection: sends the answer to one message. */
export const REPLY: unique symbol = /* @__PURE__ */ Symbol();
/** Session of a client: starts to connect. */
export const START: unique symbol = /* @__PURE__ */ Symbol();
/** Exchange over HTTP: handles its message. */
export const RUN: unique symbol = /* @__PURE__ */ Symbol();
/** Exchange over HTTP: answers it because the server closes. */
export const CANCEL: unique symbol = /* @__PURE__ */ Symbol();
/** Session: opens it. */
export const OPEN: unique symbol = /* @__PURE__ */ Symbol();
/** Session: the outgoing direction. */
export const CHANNEL: unique symbol = /* @__PURE__ */ Symbol();
/** Session: the server or client that it belongs to. */
export const HOST: unique symbol = /* @__PURE__ */ Symbol();
/** Session: the calls that wait for answers of the other end. */
export const PENDING: unique symbol = /* @__PURE__ */ Symbol();
/** Session: what answers the messages of the other end. */
export const DISPATCHER: unique symbol = /* @__PURE__ */ Symbol();
/** Request: sets what makes the errors that its method declares. */
export const DECLARE_ERRORS: unique symbol = /* @__PURE__ */ Symbol();
/** Layer of middleware: tells whether it has nothing to do for a call, which then goes on without it. */
export const SKIPS: unique symbol = /* @__PURE__ */ Symbol();
/** Connection: its user. */
export const USER: unique symbol = /* @__PURE__ */ Symbol();
/** Connection of a server: told when its user has changed. */
export const USER_CHANGED: unique symbol = /* @__PURE__ */ Symbol();
/** Connection of a server: what handlers keep about the peer. */
export const STATE: unique symbol = /* @__PURE__ */ Symbol();
