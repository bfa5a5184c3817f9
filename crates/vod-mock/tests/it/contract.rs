//! What an upload may rely on, whatever store is under it and however its client comes to the mock.
//!
//! - `behaviours`: one body each, the same in every arm.
//! - `arm`: the stores, the ways, and what a store cannot do, with the reason.

mod arm;
mod behaviours;

use arm::{Arm, Keeps, Way};

macro_rules! arm {
    ($($arm:ident: $keeps:ident, $way:ident;)*) => {
        $(mod $arm {
            use super::{Arm, Keeps, Way, behaviours};
            arm!(@ $keeps $way:
                parts_come_in_any_order_at_once_and_twice
                a_part_ahead_of_a_gap_is_replaced_when_it_is_sent_again
                a_part_behind_what_was_hashed_is_replaced_or_refused
                a_part_sent_again_with_the_same_bytes_is_taken
                resume_lists_what_is_there_on_the_first_grid
                a_finish_names_the_part_that_is_missing
                a_finish_is_repeatable_and_the_file_exists_afterwards
                parts_that_make_another_file_are_refused_and_dropped
                a_body_that_is_not_what_was_said_leaves_nothing
                instant_upload_can_be_turned_off
                what_was_never_opened_is_no_upload
                a_small_file_comes_whole_and_once
                a_legacy_upload_goes_part_after_part
                both_generations_keep_a_file_of_their_own
                whoever_has_an_answer_finds_its_exchange
                acknowledged_parts_survive_the_server
                a_legacy_upload_goes_on_where_the_last_server_left_it
                what_comes_after_a_restart_is_written_over_nothing
                requests_of_one_connection_follow_each_other
            );
        })*
    };
    (@ $keeps:ident $way:ident: $($behaviour:ident)*) => {
        $(#[tokio::test]
        async fn $behaviour() {
            behaviours::$behaviour(Arm::new(Keeps::$keeps, Way::$way)).await;
        })*
    };
}

arm! {
    memory_in_process: Memory, InProcess;
    memory_over_tcp: Memory, Tcp;
    memory_over_tls: Memory, Tls;
    spilled_in_process: Spilled, InProcess;
    spilled_over_tcp: Spilled, Tcp;
    spilled_over_tls: Spilled, Tls;
    disk_in_process: Disk, InProcess;
    disk_over_tcp: Disk, Tcp;
    disk_over_tls: Disk, Tls;
    digest_in_process: Digest, InProcess;
    digest_over_tcp: Digest, Tcp;
    digest_over_tls: Digest, Tls;
}
