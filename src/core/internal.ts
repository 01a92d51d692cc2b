/**
 * Keys of the members that this module keeps to itself. Handlers hold the same objects, so a member
 * with a plain name would be theirs to call: raw text would reach the wire, or a call be answered twice.
 *
 * @module
 */

/** Of a connection: sends a text that is encoded already. */
export const SEND: unique symbol = Symbol("send");
/** Of a connection: notes that somebody wants to know when the peer is gone. */
export const WATCH: unique symbol = Symbol("watch");
/** Of a connection with topics: the topics that it is subscribed to, to be written. */
export const TOPICS: unique symbol = Symbol("topics");
/** Of a connection with topics: removes one topic. */
export const REMOVE_TOPIC: unique symbol = Symbol("remove topic");
/** Of a connection with topics: counts events that it was not sent. */
export const COUNT_DROPPED: unique symbol = Symbol("count dropped");
/** Of a request: aborts its signal. */
export const ABORT: unique symbol = Symbol("abort");
/** Of a request: hands the answer over. */
export const SETTLE: unique symbol = Symbol("settle");
/** Of a request: notes that the answer was sent. */
export const ANSWERED: unique symbol = Symbol("answered");
/** Of a request: runs a function once the answer was sent. */
export const AFTER_ANSWER: unique symbol = Symbol("after answer");
/** Of a request: whether a function waits for {@linkcode ANSWERED}. */
export const HAS_AFTER_ANSWER: unique symbol = Symbol("has after answer");
