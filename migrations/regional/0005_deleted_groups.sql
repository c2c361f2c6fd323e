-- Ids of placement groups that were closed and empty when their rows were deleted, as ranges that do not touch. What a drive
-- still holds of them nothing can name any more. Of an id that is neither here nor in placement_groups nothing is known.
CREATE TABLE deleted_groups (
  first_id int8 PRIMARY KEY,
  last_id  int8 NOT NULL CHECK (last_id >= first_id)
);
