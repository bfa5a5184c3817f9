//! The table of codes.

use super::{
    Code, CodeRow, RetryClass,
    RetryClass::{AfterWait, Again, Final},
    Spoken,
    Spoken::{Common, Legacy, Upload},
};

const fn row(code: Code, spoken: Spoken, retry: RetryClass, meaning: &'static str, check: &'static str) -> CodeRow {
    CodeRow { code, spoken, retry, meaning, check }
}

const SENT_AGAIN: &str = "nothing: it is sent again";

/// Every failure code that a document names. Source: `docs/protocol.md`, *Codes*.
#[rustfmt::skip]
pub const TABLE: &[CodeRow] = &[
    row(Code::COMMON_PARAMS, Upload, Final, "a common parameter is missing or malformed, or the action is unknown", "the parameter that the message names"),
    row(Code::SIGNATURE, Upload, Final, "the signature does not hold, has expired, or its account is unknown", "SecretId and SecretKey, the host and path that were signed, the clock"),
    row(Code::PROTOCOL_PARAMS, Upload, Final, "a protocol parameter is wrong, or the parts do not make the file that was announced", "the parameter or the offset that the message names"),
    row(Code::CACHE_WRITE, Upload, Again, "the server could not write what it must remember", SENT_AGAIN),
    row(Code::CACHE_READ, Upload, Again, "the server could not find or read the upload's session", "twice in a row: the upload must be opened again"),
    row(Code::BODY, Upload, Again, "the body is not what the query says: length or MD5", "that every attempt sends the whole part"),
    row(Code::LEGACY_SHA_MISMATCH, Legacy, Final, "the SHA-1 of the uploaded file is not fileSha", "how the SHA-1 is taken, and that the file did not change; then begin anew at offset 0"),
    row(Code::LEGACY_SIGNATURE_LAPSED, Legacy, Final, "the signature has lapsed", "the clock, and that every attempt is signed anew"),
    row(Code::LEGACY_SECRET_ID, Legacy, Final, "the SecretId is missing or malformed", "the SecretId, in the console's list of key pairs"),
    row(Code::LEGACY_FILE_TYPE, Legacy, Final, "fileType is wrong", "the type: the file's suffix, without a dot"),
    row(Code::LEGACY_FILE_SHA, Legacy, Final, "fileSha is wrong", "how the SHA-1 is written: 40 hexadecimal digits"),
    row(Code::LEGACY_TAG, Legacy, Final, "a tag is wrong", "the tag's characters, and that n counts from 1"),
    row(Code::LEGACY_CLASS_ID, Legacy, Final, "classId is wrong", "that the class exists"),
    row(Code::LEGACY_DATA_SIZE, Legacy, Final, "dataSize is wrong", "the first part has 524288 bytes, later ones up to 5242880, and the body has as many"),
    row(Code::LEGACY_FILE_SIZE, Legacy, Final, "fileSize is wrong", "the file's size in bytes, the same in every request"),
    row(Code::LEGACY_IS_SCREENSHOT, Legacy, Final, "isScreenshot is wrong", "that it is 0 or 1"),
    row(Code::LEGACY_IS_WATERMARK, Legacy, Final, "isWatermark is wrong", "that it is 0 or 1"),
    row(Code::LEGACY_IS_TRANSCODE, Legacy, Final, "isTranscode is wrong", "that it is 0 or 1"),
    row(Code::LEGACY_BEYOND_FILE, Legacy, Final, "offset and dataSize together reach beyond fileSize", "the length of the last part, which is mostly shorter than the others"),
    row(Code::LEGACY_NOTIFY_URL, Legacy, Final, "notifyUrl is wrong", "that it is an http URL that can be reached"),
    row(Code::LEGACY_NO_ACCOUNT, Legacy, Final, "no account has this SecretId", "SecretId and SecretKey, and that the account has the service"),
    row(Code::LEGACY_SIGNATURE, Legacy, Final, "the signature does not hold", "the order of the parameters, and that what was signed is what was sent"),
    row(Code::BAD_PARAMETER, Common, Final, "a parameter is bad or missing", "the parameter that the message names"),
    row(Code(4100), Common, Final, "the signature does not hold", "SecretId and SecretKey, and what was signed"),
    row(Code(4101), Common, Final, "the sub-account may not use this API", "the sub-account's permissions"),
    row(Code(4102), Common, Final, "the sub-account may not use this resource", "the sub-account's permissions"),
    row(Code(4103), Common, Final, "the sub-account's SecretId is not supported", "which key pair is used"),
    row(Code(4104), Common, Final, "the SecretId does not exist or is disabled", "the console's list of key pairs"),
    row(Code(4110), Common, Final, "the permission check failed", "the account's permissions"),
    row(Code(4200), Common, Final, "the request has expired", "the clock"),
    row(Code(4300), Common, Final, "access is denied to this account", "the account: it may be banned, or lack the service"),
    row(Code::OVER_QUOTA, Common, AfterWait, "over quota: too many requests", "nothing: it is sent again after a while"),
    row(Code::REPLAY, Common, Final, "replay: the nonce was used before, or the timestamp is off by more than two hours", "the clock, and that every attempt is signed anew"),
    row(Code::PROTOCOL_UNSUPPORTED, Common, Final, "the protocol (http or https) is not supported here", "the scheme of the endpoint"),
    row(Code(5000), Common, Final, "the resource does not exist", "what the request names"),
    row(Code(5100), Common, Final, "the operation failed", "the message"),
    row(Code(5200), Common, Final, "the purchase failed", "the account's balance"),
    row(Code(5300), Common, Final, "the purchase failed: balance", "the account's balance"),
    row(Code(5400), Common, Final, "only part of the operation was done", "the message"),
    row(Code(5500), Common, Final, "the purchase failed: approval", "the account"),
    row(Code(6000), Common, Again, "an internal error of the server", SENT_AGAIN),
    row(Code(6100), Common, Final, "this version or interface is not supported", "the host and the path"),
    row(Code(6200), Common, Again, "the server is under maintenance", SENT_AGAIN),
];
