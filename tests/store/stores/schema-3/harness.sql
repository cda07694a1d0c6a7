BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'ablation-toy-quick-0382fdf4');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MAXIMIZE',1,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_system_attributes" VALUES(1,1,'artifacts:682a3ffe-0048-5d91-9c3c-d4a138ea2c58','"{\"artifact_id\": \"682a3ffe-0048-5d91-9c3c-d4a138ea2c58\", \"filename\": \"queries.parquet\", \"mimetype\": \"application/octet-stream\", \"encoding\": null}"');
INSERT INTO "study_system_attributes" VALUES(2,1,'study:metric_names','["validation MRR"]');
INSERT INTO "study_system_attributes" VALUES(3,1,'dashboard:note_ver','1');
INSERT INTO "study_system_attributes" VALUES(4,1,'dashboard:note_str:0','"# What each distillation loss adds\n\nThe student is trained without distillation, with the structural teacher alone (L1), with the language model''s scores (L2) or encodings (L3) in addition, and with all three. All arms of a seed share initialisation, batches and the number of updates; the distilled ones share stage 1. Both teachers are reference rows.\n\n- data: `toy`, 192 training facts, 24 validation facts, 24 test facts, 40 entities, 4 relations\n- claims tested: C2, C6\n- preset: `quick`, one seed, short training, a sentence encoder as language model; minutes\n- arms: `none`, `L1`, `L1+L2`, `L1+L3`, `L1+L2+L3`\n- reference rows: `teacher`, `llm-teacher`\n\nThe value of a trial is its validation MRR. Its attribute `label` is the name that reports have for it, `test_mrr` and\nthe like are its metrics on test facts, `reason` says why it failed. Its artifacts are the ranks of all test queries\n(`ranks.parquet`), the learning curve (`curve.csv`) and metrics by relation (`relations.csv`). Teachers are marked as\ninfeasible, so that the history''s line is that of the students; the dashboard''s card of the best trial counts them all.\n\nIts report: `python -m harness.report ablation --dataset toy --storage URL`\n"');
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_user_attributes" VALUES(1,1,'study','"ablation"');
INSERT INTO "study_user_attributes" VALUES(2,1,'dataset','"toy"');
INSERT INTO "study_user_attributes" VALUES(3,1,'preset','"quick"');
INSERT INTO "study_user_attributes" VALUES(4,1,'claims','["C2", "C6"]');
INSERT INTO "study_user_attributes" VALUES(5,1,'command','"python -m harness.study ablation --dataset toy --arms none,L1 --preset quick --seeds 1 --set student.epochs=2 --set student.stage1_epochs=1 --set teacher.epochs=1 --set teacher.dim=8 --jobs 1"');
INSERT INTO "study_user_attributes" VALUES(6,1,'data','{"training facts": 192, "validation facts": 24, "test facts": 24, "entities": 40, "relations": 4}');
INSERT INTO "study_user_attributes" VALUES(7,1,'schema','3');
INSERT INTO "study_user_attributes" VALUES(8,1,'engine','"b470ef9cfaf02b2ee4e9d5b8"');
INSERT INTO "study_user_attributes" VALUES(9,1,'data_digest','"f31aa698a033fae09195d944be13d001cd6fb00ba8bdcd10e71058f79f6727ce"');
INSERT INTO "study_user_attributes" VALUES(10,1,'queries','"682a3ffe-0048-5d91-9c3c-d4a138ea2c58"');
INSERT INTO "study_user_attributes" VALUES(11,1,'note','"b447d410e29dac2e3df4c2b8"');
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_intermediate_values" VALUES(1,1,1,1.34068002109876821537e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(2,1,2,9.19659230963655455193e-02,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(3,2,1,1.42005319413884389945e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(4,2,2,1.86526912683469076048e-01,'FINITE');
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'arm',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["none", "L1", "L1+L2", "L1+L3", "L1+L2+L3", "L2+L3", "L1+FitNet", "L1+RKD-D", "L1+RKD-A", "teacher", "llm-teacher"]}}');
INSERT INTO "trial_params" VALUES(2,1,'backbone',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["ta-distmult", "ttranse"]}}');
INSERT INTO "trial_params" VALUES(3,1,'seed',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1000000}}');
INSERT INTO "trial_params" VALUES(4,1,'dim',25.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 10000}}');
INSERT INTO "trial_params" VALUES(5,1,'stage1_epochs',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 10000}}');
INSERT INTO "trial_params" VALUES(6,1,'hard_weight',1.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1000.0, "log": false}}');
INSERT INTO "trial_params" VALUES(7,1,'temperature',7.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1000.0, "log": false}}');
INSERT INTO "trial_params" VALUES(8,1,'soft_weight',1.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1000.0, "log": false}}');
INSERT INTO "trial_params" VALUES(9,2,'arm',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["none", "L1", "L1+L2", "L1+L3", "L1+L2+L3", "L2+L3", "L1+FitNet", "L1+RKD-D", "L1+RKD-A", "teacher", "llm-teacher"]}}');
INSERT INTO "trial_params" VALUES(10,2,'backbone',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["ta-distmult", "ttranse"]}}');
INSERT INTO "trial_params" VALUES(11,2,'seed',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1000000}}');
INSERT INTO "trial_params" VALUES(12,2,'dim',25.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 10000}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_system_attributes" VALUES(1,1,'artifacts:74350ee4-8da8-5a46-9d17-13c4ace5b3e7','"{\"artifact_id\": \"74350ee4-8da8-5a46-9d17-13c4ace5b3e7\", \"filename\": \"curve.csv\", \"mimetype\": \"text/csv\", \"encoding\": null}"');
INSERT INTO "trial_system_attributes" VALUES(2,1,'artifacts:4308df48-69b4-5d9b-9f49-bd21d938f682','"{\"artifact_id\": \"4308df48-69b4-5d9b-9f49-bd21d938f682\", \"filename\": \"ranks.parquet\", \"mimetype\": \"application/octet-stream\", \"encoding\": null}"');
INSERT INTO "trial_system_attributes" VALUES(3,1,'artifacts:8b60d33f-f01c-5010-9d20-085476d7f03d','"{\"artifact_id\": \"8b60d33f-f01c-5010-9d20-085476d7f03d\", \"filename\": \"relations.csv\", \"mimetype\": \"text/csv\", \"encoding\": null}"');
INSERT INTO "trial_system_attributes" VALUES(4,2,'artifacts:48afc6c5-29b8-5d1d-b189-afbbf3f489f6','"{\"artifact_id\": \"48afc6c5-29b8-5d1d-b189-afbbf3f489f6\", \"filename\": \"curve.csv\", \"mimetype\": \"text/csv\", \"encoding\": null}"');
INSERT INTO "trial_system_attributes" VALUES(5,2,'artifacts:b8cbf555-ddb8-5f3d-8185-43c511f0c063','"{\"artifact_id\": \"b8cbf555-ddb8-5f3d-8185-43c511f0c063\", \"filename\": \"ranks.parquet\", \"mimetype\": \"application/octet-stream\", \"encoding\": null}"');
INSERT INTO "trial_system_attributes" VALUES(6,2,'artifacts:c875c86a-95ba-58b8-ad37-84be7f1f1b96','"{\"artifact_id\": \"c875c86a-95ba-58b8-ad37-84be7f1f1b96\", \"filename\": \"relations.csv\", \"mimetype\": \"text/csv\", \"encoding\": null}"');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'cell','"de2d0472e0095d0845eb"');
INSERT INTO "trial_user_attributes" VALUES(2,1,'spec','"{\"dataset\":\"toy\",\"backbone\":\"ttranse\",\"arm\":\"L1\",\"seed\":0,\"protocol\":\"time-aware\",\"time\":{\"classes\":\"frequency\",\"size\":600},\"student\":{\"candidates\":256,\"hard_candidates\":64,\"hard_every\":4,\"exact_epochs\":1,\"dim\":25,\"norm\":\"l2\",\"epochs\":2,\"batch_size\":512,\"optimizer\":null,\"learning_rate\":null,\"regularization\":null,\"validate_every\":1,\"stage1_epochs\":1,\"order\":\"structure-first\"},\"loss\":{\"alpha\":3.0,\"beta\":0.3,\"delta\":1.0,\"temperature\":7.0,\"hard_weight\":1.0,\"soft_weight\":1.0,\"semantic_share\":0.25,\"targets\":128,\"others\":\"estimated\",\"alignment\":\"huber\",\"outliers\":0.0,\"outlier_size\":10.0,\"fusion\":0.0,\"fitnet\":1.0,\"rkd_distance\":25.0,\"rkd_angle\":50.0,\"relational_entities\":64},\"teacher\":{\"candidates\":256,\"hard_candidates\":64,\"hard_every\":4,\"exact_epochs\":1,\"dim\":8,\"norm\":\"l2\",\"epochs\":1,\"batch_size\":512,\"optimizer\":null,\"learning_rate\":null,\"regularization\":null,\"validate_every\":1,\"backbone\":null,\"patience\":2,\"seed\":0},\"llm\":{\"model\":\"smollm2\",\"finetune\":\"lora\",\"objective\":null,\"token_budget\":40000,\"lora_rank\":8,\"lora_layers\":4,\"learning_rate\":0.0005,\"batch_tokens\":1024,\"max_length\":16,\"dtype\":null,\"seed\":0},\"semantic\":{\"candidates\":0,\"hard_candidates\":64,\"hard_every\":4,\"exact_epochs\":1,\"vectors\":\"model\",\"dim\":128,\"components\":256,\"epochs\":8,\"batch_size\":512,\"learning_rate\":0.003,\"patience\":2,\"seed\":0}}"');
INSERT INTO "trial_user_attributes" VALUES(3,1,'environment','{"harness": "0.1.0", "git_commit": "f86d885822670472bb564451a601e9b811ad003c", "git_dirty": false, "python": "3.11.7", "torch": "2.13.0+cpu", "transformers": "5.24.0", "peft": "0.21.2", "optuna": "5.0.0", "numpy": "2.4.6", "numba": "0.68.1", "machine": "Linux x86_64, Intel(R) Xeon(R) Processor, 2 cores, 24 GiB", "device": "cpu", "number_format": "bfloat16", "threads": 1, "stack": 1}');
INSERT INTO "trial_user_attributes" VALUES(4,1,'started','"2026-11-26T13:02:27+00:00"');
INSERT INTO "trial_user_attributes" VALUES(5,1,'preset','"quick"');
INSERT INTO "trial_user_attributes" VALUES(6,1,'protocol','"time-aware"');
INSERT INTO "trial_user_attributes" VALUES(7,1,'label','"L1"');
INSERT INTO "trial_user_attributes" VALUES(8,1,'valid_mrr','0.09196592309636555');
INSERT INTO "trial_user_attributes" VALUES(9,1,'valid_mr','20.083333333333332');
INSERT INTO "trial_user_attributes" VALUES(10,1,'valid_hits1','0.0');
INSERT INTO "trial_user_attributes" VALUES(11,1,'valid_hits3','0.08333333333333333');
INSERT INTO "trial_user_attributes" VALUES(12,1,'valid_hits10','0.22916666666666666');
INSERT INTO "trial_user_attributes" VALUES(13,1,'by_direction','{"valid": {"tail": {"mrr": 0.10602524777950324, "mr": 20.291666666666668, "hits1": 0.0, "hits3": 0.125, "hits10": 0.20833333333333334}, "head": {"mrr": 0.07790659841322783, "mr": 19.875, "hits1": 0.0, "hits3": 0.041666666666666664, "hits10": 0.25}}, "test": {"tail": {"mrr": 0.1451661872799523, "mr": 16.166666666666668, "hits1": 0.0, "hits3": 0.16666666666666666, "hits10": 0.4166666666666667}, "head": {"mrr": 0.13798681105666402, "mr": 16.916666666666668, "hits1": 0.0, "hits3": 0.125, "hits10": 0.4166666666666667}}}');
INSERT INTO "trial_user_attributes" VALUES(14,1,'test_mrr','0.14157649916830817');
INSERT INTO "trial_user_attributes" VALUES(15,1,'test_mr','16.541666666666668');
INSERT INTO "trial_user_attributes" VALUES(16,1,'test_hits1','0.0');
INSERT INTO "trial_user_attributes" VALUES(17,1,'test_hits3','0.14583333333333334');
INSERT INTO "trial_user_attributes" VALUES(18,1,'test_hits10','0.4166666666666667');
INSERT INTO "trial_user_attributes" VALUES(19,1,'costs','{"seconds": {"data": 0.0, "stage2": 0.045, "evaluate": 0.003}, "built_seconds": {"teacher": 1.262, "targets": 0.005, "teacher-vectors": 0.002, "stage1": 0.025}, "peak_mib": {"stage2": 519.402, "evaluate": 519.402}}');
INSERT INTO "trial_user_attributes" VALUES(20,1,'data_digest','"f31aa698a033fae09195d944be13d001cd6fb00ba8bdcd10e71058f79f6727ce"');
INSERT INTO "trial_user_attributes" VALUES(21,1,'updates','2');
INSERT INTO "trial_user_attributes" VALUES(22,1,'best_epoch','2');
INSERT INTO "trial_user_attributes" VALUES(23,2,'cell','"635611a1110f546cb53b"');
INSERT INTO "trial_user_attributes" VALUES(24,2,'spec','"{\"dataset\":\"toy\",\"backbone\":\"ttranse\",\"arm\":\"none\",\"seed\":0,\"protocol\":\"time-aware\",\"time\":{\"classes\":\"frequency\",\"size\":600},\"student\":{\"candidates\":256,\"hard_candidates\":64,\"hard_every\":4,\"exact_epochs\":1,\"dim\":25,\"norm\":\"l2\",\"epochs\":2,\"batch_size\":512,\"optimizer\":null,\"learning_rate\":null,\"regularization\":null,\"validate_every\":1,\"stage1_epochs\":1,\"order\":\"structure-first\"},\"loss\":{\"alpha\":3.0,\"beta\":0.3,\"delta\":1.0,\"temperature\":7.0,\"hard_weight\":1.0,\"soft_weight\":1.0,\"semantic_share\":0.25,\"targets\":128,\"others\":\"estimated\",\"alignment\":\"huber\",\"outliers\":0.0,\"outlier_size\":10.0,\"fusion\":0.0,\"fitnet\":1.0,\"rkd_distance\":25.0,\"rkd_angle\":50.0,\"relational_entities\":64},\"teacher\":{\"candidates\":256,\"hard_candidates\":64,\"hard_every\":4,\"exact_epochs\":1,\"dim\":400,\"norm\":\"l2\",\"epochs\":12,\"batch_size\":512,\"optimizer\":null,\"learning_rate\":null,\"regularization\":null,\"validate_every\":1,\"backbone\":null,\"patience\":2,\"seed\":0},\"llm\":{\"model\":\"smollm2\",\"finetune\":\"lora\",\"objective\":null,\"token_budget\":40000,\"lora_rank\":8,\"lora_layers\":4,\"learning_rate\":0.0005,\"batch_tokens\":1024,\"max_length\":16,\"dtype\":null,\"seed\":0},\"semantic\":{\"candidates\":0,\"hard_candidates\":64,\"hard_every\":4,\"exact_epochs\":1,\"vectors\":\"model\",\"dim\":128,\"components\":256,\"epochs\":8,\"batch_size\":512,\"learning_rate\":0.003,\"patience\":2,\"seed\":0}}"');
INSERT INTO "trial_user_attributes" VALUES(25,2,'environment','{"harness": "0.1.0", "git_commit": "f86d885822670472bb564451a601e9b811ad003c", "git_dirty": false, "python": "3.11.7", "torch": "2.13.0+cpu", "transformers": "5.24.0", "peft": "0.21.2", "optuna": "5.0.0", "numpy": "2.4.6", "numba": "0.68.1", "machine": "Linux x86_64, Intel(R) Xeon(R) Processor, 2 cores, 24 GiB", "device": "cpu", "number_format": "bfloat16", "threads": 1, "stack": 1}');
INSERT INTO "trial_user_attributes" VALUES(26,2,'started','"2026-11-26T13:02:27+00:00"');
INSERT INTO "trial_user_attributes" VALUES(27,2,'preset','"quick"');
INSERT INTO "trial_user_attributes" VALUES(28,2,'protocol','"time-aware"');
INSERT INTO "trial_user_attributes" VALUES(29,2,'label','"none"');
INSERT INTO "trial_user_attributes" VALUES(30,2,'valid_mrr','0.18652691268346908');
INSERT INTO "trial_user_attributes" VALUES(31,2,'valid_mr','15.229166666666666');
INSERT INTO "trial_user_attributes" VALUES(32,2,'valid_hits1','0.041666666666666664');
INSERT INTO "trial_user_attributes" VALUES(33,2,'valid_hits3','0.22916666666666666');
INSERT INTO "trial_user_attributes" VALUES(34,2,'valid_hits10','0.4166666666666667');
INSERT INTO "trial_user_attributes" VALUES(35,2,'by_direction','{"valid": {"tail": {"mrr": 0.12291046681365309, "mr": 16.166666666666668, "hits1": 0.0, "hits3": 0.125, "hits10": 0.2916666666666667}, "head": {"mrr": 0.250143358553285, "mr": 14.291666666666666, "hits1": 0.08333333333333333, "hits3": 0.3333333333333333, "hits10": 0.5416666666666666}}, "test": {"tail": {"mrr": 0.16446788907668566, "mr": 13.75, "hits1": 0.041666666666666664, "hits3": 0.16666666666666666, "hits10": 0.4166666666666667}, "head": {"mrr": 0.14828244061594872, "mr": 17.25, "hits1": 0.0, "hits3": 0.20833333333333334, "hits10": 0.375}}}');
INSERT INTO "trial_user_attributes" VALUES(36,2,'test_mrr','0.15637516484631722');
INSERT INTO "trial_user_attributes" VALUES(37,2,'test_mr','15.5');
INSERT INTO "trial_user_attributes" VALUES(38,2,'test_hits1','0.020833333333333332');
INSERT INTO "trial_user_attributes" VALUES(39,2,'test_hits3','0.1875');
INSERT INTO "trial_user_attributes" VALUES(40,2,'test_hits10','0.3958333333333333');
INSERT INTO "trial_user_attributes" VALUES(41,2,'costs','{"seconds": {"data": 0.0, "stage2": 0.015, "evaluate": 0.002}, "built_seconds": {"stage1": 0.006}, "peak_mib": {"stage2": 519.402, "evaluate": 519.402}}');
INSERT INTO "trial_user_attributes" VALUES(42,2,'data_digest','"f31aa698a033fae09195d944be13d001cd6fb00ba8bdcd10e71058f79f6727ce"');
INSERT INTO "trial_user_attributes" VALUES(43,2,'updates','2');
INSERT INTO "trial_user_attributes" VALUES(44,2,'best_epoch','2');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,9.19659230963655455193e-02,'FINITE');
INSERT INTO "trial_values" VALUES(2,2,0,1.86526912683469076048e-01,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-26 13:02:27.686967','2026-11-26 13:02:27.852000');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-26 13:02:27.887351','2026-11-26 13:02:27.983458');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;
