BEGIN TRANSACTION;
CREATE TABLE forecasts (
            project_id BIGINT NOT NULL, group_id BIGINT NOT NULL, date_added BIGINT NOT NULL, forecast TEXT NOT NULL,
            PRIMARY KEY (project_id, group_id, date_added),
            FOREIGN KEY (project_id, group_id) REFERENCES issues (project_id, group_id) ON DELETE CASCADE);
INSERT INTO "forecasts" VALUES(1,7,1767690000000000,'[46,46,46,46,46,46,46,46,46,46,46,46,46,46]');
CREATE TABLE history (
            id INTEGER PRIMARY KEY AUTOINCREMENT, project_id BIGINT NOT NULL, group_id BIGINT NOT NULL, at BIGINT NOT NULL,
            kind TEXT NOT NULL, maker TEXT, cause TEXT, forecast BIGINT, who TEXT, version BIGINT NOT NULL,
            source TEXT NOT NULL);
INSERT INTO "history" VALUES(1,1,7,1767603600000000,'new','first_event',NULL,NULL,NULL,1,'store');
INSERT INTO "history" VALUES(2,1,8,1767690000000000,'new','first_event',NULL,NULL,NULL,1,'store');
INSERT INTO "history" VALUES(3,1,7,1767690000000000,'archived_until_escalating','user',NULL,NULL,'ada',2,'store');
INSERT INTO "history" VALUES(4,1,7,1767888000000000,'escalating','escalation','forecast',46,NULL,3,'store');
INSERT INTO "history" VALUES(5,1,8,1767776400000000,'resolved','user',NULL,NULL,'bob',2,'store');
CREATE TABLE issues (
            project_id BIGINT NOT NULL, group_id BIGINT NOT NULL,
            state TEXT NOT NULL, since BIGINT NOT NULL,
            priority BIGINT NOT NULL, initial_priority BIGINT NOT NULL, priority_locked_at BIGINT,
            type BIGINT, title TEXT, culprit TEXT, level TEXT,
            first_seen BIGINT, last_seen BIGINT, times_seen BIGINT NOT NULL,
            condition TEXT, version BIGINT NOT NULL,
            PRIMARY KEY (project_id, group_id));
INSERT INTO "issues" VALUES(1,7,'escalating',1767888000000000,75,50,NULL,1,'Timeout in checkout','shop.pay','info',1767603600000000,1767607200000000,2,NULL,3);
INSERT INTO "issues" VALUES(1,8,'resolved',1767776400000000,50,50,NULL,1,'Timeout in checkout','shop.pay','info',1767690000000000,1767690000000000,1,NULL,2);
CREATE TABLE labels (
            id INTEGER PRIMARY KEY AUTOINCREMENT, project_id BIGINT NOT NULL, group_id BIGINT NOT NULL, hour BIGINT NOT NULL,
            verdict TEXT NOT NULL, note TEXT, who TEXT, at BIGINT NOT NULL);
INSERT INTO "labels" VALUES(1,1,7,1767888000000000,'noise',NULL,'ada',1767891600000000);
INSERT INTO "labels" VALUES(2,1,7,1767888000000000,'escalated','really','bob',1767949200000000);
CREATE TABLE occurrences (
            occurrence_id TEXT PRIMARY KEY, event_id TEXT, project_id BIGINT NOT NULL, group_id BIGINT NOT NULL,
            type BIGINT, fingerprint TEXT, title TEXT, level TEXT NOT NULL,
            detected_at BIGINT NOT NULL, received_at BIGINT,
            FOREIGN KEY (project_id, group_id) REFERENCES issues (project_id, group_id) ON DELETE CASCADE);
INSERT INTO "occurrences" VALUES('a1','a1',1,7,1,'["x"]','Timeout in checkout','info',1767603600000000,NULL);
INSERT INTO "occurrences" VALUES('a2','a2',1,7,1,'["x"]','Timeout in checkout','info',1767607200000000,NULL);
INSERT INTO "occurrences" VALUES('b1','b1',1,8,1,'["y"]','Timeout in checkout','info',1767690000000000,NULL);
CREATE TABLE schema_version (version BIGINT PRIMARY KEY, at BIGINT NOT NULL);
INSERT INTO "schema_version" VALUES(1,1795599019624218);
CREATE INDEX issues_by_state ON issues (state, since);
CREATE INDEX occurrences_by_issue ON occurrences (project_id, group_id, detected_at);
CREATE INDEX history_by_issue ON history (project_id, group_id, id);
CREATE INDEX labels_by_alert ON labels (project_id, group_id, hour, id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('history',5);
INSERT INTO "sqlite_sequence" VALUES('labels',2);
COMMIT;
